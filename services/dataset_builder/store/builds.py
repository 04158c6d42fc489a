"""How far each route is with its builds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from pydantic import BaseModel, ConfigDict
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import BlobRef, JsonObject
from shared.storage import insert_once


class Refusal(BaseModel):
    """Why a build gave no dataset."""

    model_config = ConfigDict(frozen=True)
    build: int
    error: str
    detail: str
    # The route's specification then: another one is tried without waiting.
    spec: JsonObject
    # The largest groups of lost rows, and where all are stored.
    clusters: tuple[JsonObject, ...] = ()
    lost: BlobRef | None = None


@dataclass(frozen=True)
class BuildState:
    """A route's builds."""

    route: str
    # The number of the newest build that was ordered.
    attempts: int = 0
    # The number of the newest build that gave a dataset.
    built: int = 0
    # The number of the build that is queued or running; 0 when none is.
    building: int = 0
    # Known from the drift until the next dataset; the time is microseconds since the epoch. Only
    # what labels bear out lowers the threshold.
    drift_id: str | None = None
    drift_us: int | None = None
    confirmed: bool = False
    # The brake that was said to hold a dataset back which is due.
    held: str | None = None
    # New verdicts after a refusal before the next attempt.
    wait: int = 0
    refusal: Refusal | None = None
    # The newest dataset.
    dataset_id: str | None = None
    # Verdicts that the newest build left out, by label.
    lost_labels: Mapping[str, int] = field(default_factory=dict)
    # When answers began to mean what they mean now; microseconds since the epoch.
    meaning_us: int | None = None


class BuildStore:
    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "builds",
            metadata,
            Column("route", String(200), primary_key=True),
            Column("attempts", Integer, nullable=False),
            Column("built", Integer, nullable=False),
            Column("building", Integer, nullable=False),
            Column("drift_id", String(64)),
            Column("drift_us", BigInteger),
            Column("wait", Integer, nullable=False),
            Column("refusal", String),
            Column("dataset_id", String(200)),
            Column("lost_labels", String),
            Column("meaning_us", BigInteger),
            # A drift that a release before this one kept had lowered the threshold already.
            Column("confirmed", Boolean, nullable=False, server_default=true()),
            Column("held", String(32)),
        )

    async def get(self, connection: AsyncConnection, route: str) -> BuildState | None:
        mine = select(self.table).where(self.table.c.route == route)
        row = (await connection.execute(mine)).mappings().first()
        return as_state(row) if row else None

    async def held(self, connection: AsyncConnection) -> list[str]:
        """Return the routes whose next dataset is held back."""
        table = self.table
        wanted = select(table.c.route).where(table.c.held.is_not(None))
        return list((await connection.execute(wanted)).scalars())

    async def locked(self, tx: AsyncConnection, route: str) -> BuildState:
        """Return a route's state and lock its row, which is made where there is none."""
        mine = select(self.table).where(self.table.c.route == route).with_for_update()
        if row := (await tx.execute(mine)).mappings().first():
            return as_state(row)
        await insert_once(tx, self.table, as_values(BuildState(route)))
        return as_state((await tx.execute(mine)).mappings().one())

    async def save(self, tx: AsyncConnection, state: BuildState) -> None:
        """Write the state of a row that this transaction has locked."""
        await tx.execute(
            update(self.table).where(self.table.c.route == state.route).values(as_values(state))
        )


def as_state(row: RowMapping) -> BuildState:
    refusal = Refusal.model_validate_json(row["refusal"]) if row["refusal"] else None
    lost = json.loads(row["lost_labels"] or "{}")
    return BuildState(**{**row, "refusal": refusal, "lost_labels": lost})


def as_values(state: BuildState) -> JsonObject:
    return asdict(replace(state, refusal=None)) | {
        "refusal": state.refusal.model_dump_json() if state.refusal else None,
        "lost_labels": json.dumps(state.lost_labels, sort_keys=True),
    }
