"""What is stored of a job, and of each of its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, MetaData, String, Table

from schemas.base import JsonObject, uuid7
from shared.clock import now
from shared.errors import RatchetError
from shared.storage import timestamp

OPEN = ("queued", "running")


class LeaseLost(RatchetError):
    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"job {job_id} was taken over by another worker, or cancelled; this one must not"
            " publish its result"
        )


@dataclass(frozen=True)
class Job:
    """One piece of work, as it stands now."""

    job_id: str
    kind: str
    key: str  # unique: the same work is never queued twice
    route: str
    payload: JsonObject
    state: str  # queued, running, finished, failed, cancelled
    attempt: int  # counted from one in each run
    strikes: int  # attempts of this run that failed, or whose worker died
    life: int  # number of this run: it goes up when an operator retries a job that was over
    token: int  # fencing token: it belongs to one attempt alone
    worker: str | None
    progress: JsonObject
    result: JsonObject | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    age: float | None = None  # seconds since it was queued, by the database's clock
    silent: float | None = None  # seconds since its lease was renewed
    tenant: str = ""
    spent: float = 0.0  # seconds that earlier attempts of this run took, when it was claimed
    ahead: int | None = None  # jobs of the same kind and tenant that come before it

    @property
    def run_name(self) -> str:
        """Name this run of the job on disk: unique per retry, and never used again."""
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
        Column("tenant", String(64), nullable=False, server_default=""),
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
        Index("ix_jobs_turn", "kind", "state", "tenant", "queued_at"),
    )


def history_table(metadata: MetaData) -> Table:
    """Make a row per attempt; what operators did has no token.

    Outcomes: finished, failed, waits, died, stopped, paused, cancelled, retried.
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


def new_job(kind: str, key: str, payload: JsonObject) -> JsonObject:
    """Return the columns of a job that nobody worked on yet, all but its place in the queue."""
    return {
        "job_id": uuid7(),
        "kind": kind,
        "key": key,
        "route": payload.get("route", ""),
        "tenant": payload.get("route", "").partition("/")[0],
        "payload": payload,
        "state": "queued",
        "attempt": 0,
        "failures": 0,
        "deaths": 0,
        "life": 0,
        "token": 0,
        "lease_until": 0.0,
        "renewed_at": 0.0,
        "progress": {},
        "created_at": now(),
        "updated_at": now(),
    }


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
        tenant=row.tenant,
        ahead=getattr(row, "ahead", None),
    )


def as_history(row: Any) -> JsonObject:
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
