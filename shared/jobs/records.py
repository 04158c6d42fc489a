"""What is stored of a job, and of each of its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Float, Integer, MetaData, String, Table

from shared.errors import RatchetError
from shared.storage.db import timestamp

OPEN = ("queued", "running")


class LeaseLost(RatchetError):
    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id} was taken over by another worker, or cancelled; this one must not"
            " publish its result"
        )


class JobFailed(RatchetError):
    """The work cannot succeed by trying again (bad data, bad recipe); its message is stored with
    the job.
    """


@dataclass(frozen=True)
class Job:
    """`token` belongs to one attempt alone; `life` goes up when an operator retries a job that was
    over.
    """

    job_id: str
    kind: str
    key: str
    route: str
    payload: dict[str, Any]
    state: str
    attempt: int
    strikes: int
    life: int
    token: int
    worker: str | None
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    age: float | None = None  # seconds since it was queued, by the database's clock
    silent: float | None = None  # seconds since its lease was renewed

    @property
    def name(self) -> str:
        """Of this life, for what it keeps on disk: once over, nobody else will ever use that
        name.
        """
        return f"{self.job_id}.{self.life}"


def jobs_table(metadata: MetaData) -> Table:
    """Floats are seconds by the database's clock. Every decision is made on those; timestamps are
    for people.
    """
    return Table(
        "jobs",
        metadata,
        Column("job_id", String(36), primary_key=True),
        Column("kind", String(32), nullable=False),
        Column("key", String(256), nullable=False, unique=True),
        Column("route", String(200), nullable=False, index=True),
        Column("payload", JSON, nullable=False),
        Column("state", String(16), nullable=False, index=True),
        Column("attempt", Integer, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("deaths", Integer, nullable=False),
        Column("life", Integer, nullable=False),
        Column("token", Integer, nullable=False),
        Column("worker", String(300)),
        Column("queued_at", Float, nullable=False),
        Column("lease_until", Float, nullable=False),
        Column("renewed_at", Float, nullable=False),
        Column("progress", JSON, nullable=False),
        Column("result", JSON),
        Column("error", String),
        timestamp("created_at", nullable=False),
        timestamp("updated_at", nullable=False),
    )


def history_table(metadata: MetaData) -> Table:
    """A row per attempt; what operators did has no token. Outcomes: finished, failed, waits, died,
    stopped, cancelled, retried.
    """
    return Table(
        "job_history",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("job_id", String(36), nullable=False, index=True),
        Column("life", Integer, nullable=False),
        Column("attempt", Integer),
        Column("token", Integer),
        Column("worker", String(300)),
        Column("began_at", Float),
        Column("ended_at", Float),
        Column("outcome", String(16)),
        Column("reason", String),
    )


def as_job(row: Any) -> Job:
    return Job(
        job_id=row.job_id,
        kind=row.kind,
        key=row.key,
        route=row.route,
        payload=row.payload,
        state=row.state,
        attempt=row.attempt,
        strikes=row.failures + row.deaths,
        life=row.life,
        token=row.token,
        worker=row.worker,
        progress=row.progress,
        result=row.result,
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
        age=getattr(row, "age", None),
        silent=getattr(row, "silent", None),
    )


def as_history(row: Any) -> dict[str, Any]:
    return {
        "life": row.life,
        "attempt": row.attempt,
        "worker": row.worker,
        "began_at": moment(row.began_at),
        "ended_at": moment(row.ended_at),
        "outcome": row.outcome or "running",
        "reason": row.reason,
    }


def moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
