"""Adapters for free text before people: a contest opens where its evaluation has the answers, and
ends in a job of its own when enough was said.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import BlobRef, Event, JsonObject, uuid7
from schemas.comparisons import ComparisonRequested, Judgement
from schemas.events import AdapterEvaluated, AdapterTrained
from services.evaluator.champions import state_of
from services.evaluator.comparisons import Side
from services.evaluator.contest import (
    Contest,
    Ending,
    Said,
    concluded,
    ended,
    ending_of,
    moot,
    reported,
    shown,
    together,
)
from services.evaluator.examination import Pair
from services.evaluator.judging import Judging
from services.evaluator.pairs import comparison_requested
from services.evaluator.ports import Reports
from services.evaluator.store.comparisons import ComparisonStore
from services.evaluator.store.contests import ContestStore, Waiting
from services.evaluator.store.evaluations import EvaluationStore
from shared.clock import now
from shared.describing import describe
from shared.errors import RatchetError, Retryable
from shared.events import Outbox
from shared.jobs import Job, JobStore
from shared.rules import RouteBook
from shared.storage import BlobStore, Database
from shared.telemetry import log

# The job that asks the arms.
JOB = "evaluate"
CONCLUDE = "conclude"
POLL_SECONDS = 2.0
DAY_SECONDS = 86_400.0

ByRow = Mapping[str, tuple[Judgement, Side] | None]


class ContestOpen(Retryable):
    def __init__(self, route: str) -> None:
        super().__init__(
            f"people were just asked about another adapter of '{route}'; this one waits for them"
        )


class Opening(NamedTuple):
    """What is kept when people are asked, all of it or nothing."""

    contest: Contest
    pairs: Sequence[Pair]
    # What people are asked, and what the judge model said.
    events: Sequence[Event]


@dataclass(frozen=True)
class Contests:
    db: Database
    jobs: JobStore
    outbox: Outbox
    routes: RouteBook
    evaluations: EvaluationStore
    comparisons: ComparisonStore
    store: ContestStore
    blobs: BlobStore
    reports: Reports
    judging: Judging
    # How long people have; review keeps the pairs for so long.
    days: float

    async def puts_off(self, job: Job, trained: AdapterTrained, refused: AdapterEvaluated) -> bool:
        """Let an adapter wait while people are asked about another one of its route. Of those that
        wait only the newest is kept; the other's verdict is `refused`.
        """
        async with self.db.transaction() as tx:
            if await self.store.of_route(tx, trained.route) is None:
                return False
            mine = Waiting(evaluation_id=job.job_id, trained=trained)
            other = await self.store.who_waits(tx, trained.route)
            both = sorted(
                [mine, *([other] if other else [])], key=lambda one: one.trained.occurred_at
            )
            await self.store.wait(tx, both[-1])
            await self.jobs.finish(tx, job, {"waits": both[-1] == mine})
            for older in both[:-1]:
                event = superseded(refused, older)
                await self.evaluations.add(tx, event, [])
                await self.outbox.add(tx, event)
        return True

    async def opening(self, contest: Contest, pairs: Sequence[Pair]) -> Opening:
        """Write down what people are asked, and ask the judge model where there is one."""
        trained = contest.trained

        def write() -> list[ComparisonRequested]:
            return [
                comparison_requested(
                    self.blobs,
                    pair.pairing,
                    trained.tenant,
                    trained.spec,
                    pair.row.messages,
                    pair.ours,
                    pair.theirs,
                )
                for pair in pairs
            ]

        asked = await asyncio.to_thread(write)
        judged = await self.judging.judge(trained.tenant, trained.route, pairs)
        return Opening(contest, pairs, (*asked, *judged))

    async def open(self, tx: AsyncConnection, opening: Opening) -> None:
        """Ask people. Raises ContestOpen where they are asked about another adapter."""
        if not await self.store.open(tx, opening.contest):
            raise ContestOpen(opening.contest.route)
        for pair in opening.pairs:
            await self.comparisons.ask(tx, pair.pairing)
        await self.outbox.add(tx, *opening.events)

    async def watch(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                await self.look()
            except Retryable:
                # The database is away: it is looked at again.
                pass
            except Exception as error:  # noqa: BLE001
                log("contests").error("not looked at, will retry", error=describe(error))
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Order the end of each contest that has one, and go on with who waited for it.

        A judgement alone orders nothing: two that come at once do not see each other.
        """
        async with self.db.read() as connection:
            contests = await self.store.all(connection)
            found = [await self._ending(connection, contest) for contest in contests]
            free = await self.store.free(connection)
        for ending in filter(None, found):
            async with self.db.transaction() as tx:
                key = f"{CONCLUDE} {ending.evaluation_id}"
                await self.jobs.add(tx, CONCLUDE, key, ending.model_dump(mode="json"))
        for waiting in free:
            async with self.db.transaction() as tx:
                if await self.store.take(tx, waiting):
                    key = f"again {waiting.evaluation_id}"
                    await self.jobs.add(tx, JOB, key, waiting.trained.model_dump(mode="json"))

    async def _ending(self, connection: AsyncConnection, contest: Contest) -> Ending | None:
        people = await self.said(connection, contest, "person")
        if why := moot(contest, await state_of(self.routes, connection, contest.route)):
            return ended(contest, together(contest, people), why)
        model = await self.said(connection, contest, "model")
        if ending := ending_of(contest, people, model):
            return ending
        if time.time() - contest.opened_at < self.days * DAY_SECONDS:
            return None
        tally = together(contest, people)
        why = f"rejected: not proven better within {self.days:g} days (EVALUATOR_CONTEST_DAYS)"
        return ended(contest, tally, why)

    async def said(
        self, connection: AsyncConnection, contest: Contest, judge: Literal["person", "model"]
    ) -> Said:
        """Return what was judged of a contest, by pair."""
        about = contest.evaluation_id, contest.against
        return await self.comparisons.said(connection, *about, judge)

    async def run(self, job: Job) -> None:
        """Publish how a contest ended, once, and draw its report."""
        ending = Ending.model_validate(job.payload)
        async with self.db.read() as connection:
            contest = await self.store.of_route(connection, ending.route)
            if contest and contest.evaluation_id == ending.evaluation_id:
                people = await self.said(connection, contest, "person")
                pairs = await self.comparisons.asked(connection, ending.evaluation_id)
            else:
                contest = None
        event = None
        if contest:
            rows = {pair.row_id: people.get(pair.comparison_id) for pair in pairs}
            event = concluded(contest, ending)
            report = await self.report(contest, event, rows)
            fresh = {"event_id": uuid7(), "occurred_at": now(), "report": report}
            event = event.model_copy(update=fresh)
        async with self.db.transaction() as tx:
            await self.jobs.finish(tx, job, {"verdict": ending.verdict})
            if event and await self.store.close(tx, ending.evaluation_id):
                await self.evaluations.add(tx, event, [])
                await self.outbox.add(tx, event)
        log("contests").info(
            "people decided",
            evaluation_id=ending.evaluation_id,
            verdict=ending.verdict,
            judged=ending.tally.judged,
        )

    async def keep(self, content: JsonObject) -> BlobRef:
        """Store what the report will show: it holds what users wrote, as the report itself."""
        body = json.dumps(content).encode()
        return await asyncio.to_thread(self.blobs.put_bytes, body, "contests", ".json")

    async def report(
        self, contest: Contest, event: AdapterEvaluated, said: ByRow
    ) -> BlobRef | None:
        """Draw the report; that what it shows is gone holds up nothing."""
        try:
            body = await asyncio.to_thread(self.blobs.get_bytes, contest.content)
        except RatchetError as error:
            log("contests").error("no report", error=error.name)
            return None
        return await self.reports.evaluation(reported(json.loads(body), event, said))

    async def open_ones(self, connection: AsyncConnection, tenant: str) -> list[JsonObject]:
        """Return what people see of the contests of a tenant."""
        found = []
        for contest in await self.store.all(connection, tenant):
            waits = await self.store.who_waits(connection, contest.route)
            people = await self.said(connection, contest, "person")
            waiting = waits.trained.adapter.adapter_id if waits else None
            found.append(shown(contest, people, waiting))
        return found


def superseded(refused: AdapterEvaluated, older: Waiting) -> AdapterEvaluated:
    """Return the verdict on an adapter that waited for people when a newer one came."""
    trained = older.trained
    return refused.model_copy(
        update={
            "event_id": uuid7(),
            "evaluation_id": older.evaluation_id,
            "adapter": trained.adapter,
            "dataset_id": trained.dataset_id,
        }
    )
