"""What is known of an adapter on trial: its audited answers, and in how many it failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pydantic_core import from_json, to_json
from sqlalchemy import ColumnElement, Integer, Select, Table, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.router.evidence import Audited, Comparison, FailureWatch, compare
from services.router.store.tables import Tables
from shared.storage import insert_once

# Verdicts that are compared of each side: 5 points of 15 % wrong show in 85 % of 1,000 simulated
# runs by then.
MOST = 2000


class Trial(NamedTuple):
    """The answers of a champion since it was promoted, as far as they are counted."""

    counted_to: float
    asked: int = 0
    failed: int = 0
    watch: FailureWatch = FailureWatch()


@dataclass(frozen=True)
class Trials:
    tables: Tables

    async def comparison(
        self,
        connection: AsyncConnection,
        route: str,
        new: str,
        old: str | None,
        began: float,
        promoted: float | None = None,
    ) -> Comparison:
        """Compare an adapter with the one before it, or with the base model (None)."""
        asked, said = self.tables.decisions.c.at, self.tables.outcomes.c.at
        since = asked >= began, said >= began
        ours = self._audited(route, new).where(*since).order_by(said)
        beside = self._audited(route, old).where(*since).order_by(said)
        theirs = await read(connection, beside)
        if promoted is not None:
            before = self._audited(route, old).where(asked < began).order_by(asked.desc())
            theirs += await read(connection, before)
        return compare(await read(connection, ours), theirs, began, promoted)

    def _audited(self, route: str, picked: str | None) -> Select[tuple[str, str, float, float]]:
        """Select the audited answers of requests that were given to an adapter, whoever answered
        them in the end: what an adapter is sure enough to answer is its own choice.
        """
        decisions, outcomes = self.tables.decisions, self.tables.outcomes
        return (
            select(
                outcomes.c.inference_id,
                outcomes.c.verdict,
                decisions.c.at.label("asked_at"),
                outcomes.c.at.label("said_at"),
            )
            .join(decisions, decisions.c.inference_id == outcomes.c.inference_id)
            .where(outcomes.c.route == route, is_or_null(decisions, picked))
            .limit(MOST)
        )

    async def marker(self, connection: AsyncConnection, route: str) -> tuple[int, float]:
        """Return what changes with the audited verdicts of a route."""
        table = self.tables.outcomes
        last = func.coalesce(func.max(table.c.at), 0.0)
        wanted = select(func.count(), last).where(table.c.route == route)
        count, at = (await connection.execute(wanted)).one()
        return count, at

    async def find(self, connection: AsyncConnection, route: str, adapter_id: str) -> Trial | None:
        table = self.tables.trials
        wanted = (table.c.route == route) & (table.c.adapter_id == adapter_id)
        row = (await connection.execute(select(table).where(wanted))).one_or_none()
        if row is None:
            return None
        watch = FailureWatch(row.looks, tuple(from_json(row.sums)))
        return Trial(row.counted_to, row.asked, row.failed, watch)

    async def begin(self, tx: AsyncConnection, route: str, adapter_id: str, at: float) -> None:
        watch = FailureWatch()
        row = {
            "route": route,
            "adapter_id": adapter_id,
            "counted_to": at,
            "asked": 0,
            "failed": 0,
            "looks": watch.looks,
            "sums": to_json(watch.sums).decode(),
        }
        await insert_once(tx, self.tables.trials, row)

    async def count(
        self, tx: AsyncConnection, route: str, adapter_id: str, old: Trial, until: float
    ) -> Trial:
        """Count the answers since the last look; another process may have done so meanwhile, also
        one whose clock is ahead.
        """
        # Time that goes back would have the same answers counted again, and those of the canary.
        if until <= old.counted_to:
            return old
        decisions, table = self.tables.decisions, self.tables.trials
        rows = await tx.execute(
            select(
                func.count(), func.coalesce(func.sum(cast(decisions.c.failed, Integer)), 0)
            ).where(
                decisions.c.picked == adapter_id,
                decisions.c.route == route,
                decisions.c.at > old.counted_to,
                decisions.c.at <= until,
                # A caller that left soon says nothing.
                decisions.c.event.is_not(None) | decisions.c.failed,
            )
        )
        asked, failed = rows.one()
        watch = old.watch.seen(asked, failed) if asked else old.watch
        new = Trial(until, old.asked + asked, old.failed + failed, watch)
        unmoved = (
            (table.c.route == route)
            & (table.c.adapter_id == adapter_id)
            & (table.c.counted_to == old.counted_to)
        )
        changes = {
            "counted_to": new.counted_to,
            "asked": new.asked,
            "failed": new.failed,
            "looks": watch.looks,
            "sums": to_json(watch.sums).decode(),
        }
        swapped = await tx.execute(update(table).where(unmoved).values(**changes))
        return new if swapped.rowcount == 1 else old


def is_or_null(decisions: Table, picked: str | None) -> ColumnElement[bool]:
    return decisions.c.picked.is_(None) if picked is None else decisions.c.picked == picked


async def read(
    connection: AsyncConnection, wanted: Select[tuple[str, str, float, float]]
) -> list[Audited]:
    """Read verdicts, the last one of each answer: some are said twice."""
    found: dict[str, Audited] = {}
    for row in await connection.execute(wanted):
        right = row.verdict == "approved"
        first = found.get(row.inference_id)
        said_at = first.said_at if first else row.said_at
        found[row.inference_id] = Audited(row.asked_at, said_at, right)
    return list(found.values())
