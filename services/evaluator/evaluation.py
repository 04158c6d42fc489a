"""The evaluation of one adapter, as a stored job: ask every arm the same held-out rows, judge,
report, publish.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.answers import is_free_text
from schemas.base import AdapterRef
from schemas.events import AdapterEvaluated, AdapterTrained
from services.evaluator.asking import Questions
from services.evaluator.champions import state_of
from services.evaluator.contest import Contest, concluded, ending_of
from services.evaluator.contests import Contests
from services.evaluator.examination import drawn, examine
from services.evaluator.findings import Findings, judge
from services.evaluator.gates import GateResult
from services.evaluator.heldout import ArmAnswers, Contender, HeldOutRow, deciding, read_held_out
from services.evaluator.ports import AdapterUnfit, Generator, Reports
from services.evaluator.probe import choose_probe
from services.evaluator.publication import adapter_evaluated, calibrations_fitted, report_content
from services.evaluator.reviewers import missed
from services.evaluator.spending import level
from services.evaluator.store.evaluations import EvaluationStore
from services.evaluator.store.populations import PopulationStore
from services.evaluator.store.reviewers import LookStore
from services.evaluator.store.transcripts import TranscriptStore
from shared.errors import Retryable
from shared.events import Outbox
from shared.jobs import Job, JobStore
from shared.rules import AdapterFolderRefused, RouteBook, examine_adapter
from shared.storage import BlobStore, Database
from shared.telemetry import log


class OutOfTurn(Retryable):
    def __init__(self, route: str) -> None:
        super().__init__(
            f"another adapter of '{route}' was tested meanwhile at the same level; trying again"
        )


@dataclass(frozen=True)
class Evaluation:
    """Evaluates one adapter per job; `run` is the job."""

    db: Database
    jobs: JobStore
    outbox: Outbox
    routes: RouteBook
    evaluations: EvaluationStore
    blobs: BlobStore
    generator: Generator
    transcripts: TranscriptStore
    questions: Questions
    reports: Reports
    populations: PopulationStore
    looks: LookStore
    contests: Contests
    # Absolute: vLLM reads adapters from it.
    cache_dir: Path
    # One job at a time loads and unloads the engine's adapters.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, job: Job) -> None:
        async with self.turn:
            await self._run(job)

    async def _run(self, job: Job) -> None:
        started = time.monotonic()
        trained = AdapterTrained.model_validate(job.payload)
        if is_free_text(trained.spec):
            if await self._waits(job, trained, started):
                return
            trained = await self._as_served(trained)
            if not is_free_text(trained.spec):
                await self._reject(job, trained, "the route is for free text no more", started)
                return
        await self.generator.see()
        champion = await self._champion(trained.route)
        rows = await self.rows(trained)
        contenders = contenders_of(champion, trained.adapter)
        if champion:
            await self.load(champion)
        try:
            await self.load(trained.adapter)
            answered = await self.questions.ask_all(job, contenders, rows, trained.spec)
        except AdapterUnfit as unfit:
            await self._reject(job, trained, str(unfit), started)
            await self.unload(contenders)
            return
        if is_free_text(trained.spec):
            await self._ask_people(job, trained, *deciding(rows, answered), started)
        else:
            await self._decide(job, trained, rows, answered, started)
        self.transcripts.drop(job.run_name)
        await self.unload(contenders)

    async def _decide(
        self,
        job: Job,
        trained: AdapterTrained,
        rows: Sequence[HeldOutRow],
        answered: Sequence[ArmAnswers],
        started: float,
    ) -> None:
        """Judge by what reviewers approved, report and publish."""
        promoted = await self._attempts(trained.route)
        alpha = level(promoted)
        passed = await self.missed(trained.route)
        findings = await asyncio.to_thread(judge, rows, answered, trained.spec, alpha, passed)
        probe = await choose_probe(self.generator, rows, answered[-1], answered[0], trained.spec)
        content = report_content(job.job_id, trained, findings, rows, answered, promoted)
        report = await self.reports.evaluation(content)
        seconds = time.monotonic() - started
        # Where there were too few rows nothing was tested, and no level is spent.
        attempt = len(promoted) + 1 if findings.gate.tests else None
        grammar = self.generator.grammar
        event = adapter_evaluated(
            job.job_id, trained, findings, probe, report, seconds, grammar, attempt
        )
        await self._publish(job, trained, findings, event)

    async def _ask_people(
        self,
        job: Job,
        trained: AdapterTrained,
        rows: Sequence[HeldOutRow],
        answered: Sequence[ArmAnswers],
        started: float,
    ) -> None:
        """Open a contest against what serves, unless it is lost before anybody is asked."""
        promoted = await self._attempts(trained.route)
        findings = await asyncio.to_thread(examine, rows, answered, trained.spec)
        probe = await choose_probe(self.generator, rows, answered[-1], answered[0], trained.spec)
        pairs = await asyncio.to_thread(
            drawn, job.job_id, rows, answered[-1], answered[-2], trained.spec
        )
        content = report_content(job.job_id, trained, findings, rows, answered, promoted)
        seconds = time.monotonic() - started
        grammar = self.generator.grammar
        about = job.job_id, trained, findings, probe, None, seconds, grammar
        contest = Contest(
            evaluation_id=job.job_id,
            against=answered[-2].contender.arm,
            pairs=pairs.pairs,
            settled=pairs.settled,
            alpha=level(promoted),
            trained=trained,
            draft=adapter_evaluated(*about, len(promoted) + 1),
            content=await self.contests.keep(content),
            opened_at=time.time(),
        )
        ending = ending_of(contest, {}, {})
        if ending or not findings.gate.promote:
            # Nothing was tested that people could have been asked about: no level is spent.
            event = adapter_evaluated(*about, None)
            if ending and findings.gate.promote:
                event = concluded(contest, ending).model_copy(update={"attempt": None})
            report = await self.contests.report(contest, event, {})
            event = event.model_copy(update={"verdict": "reject", "report": report})
            await self._publish(job, trained, findings, event)
            return
        opening = await self.contests.opening(contest, pairs.asked)
        async with self.db.transaction() as tx:
            await self._keep_turn(tx, contest.draft)
            result = {"evaluation_id": job.job_id, "pairs": len(pairs.asked)}
            await self.jobs.finish(tx, job, result)
            await self.contests.open(tx, opening)
        log("evaluation").info("people are asked", adapter_id=trained.adapter.adapter_id, **result)

    async def _as_served(self, trained: AdapterTrained) -> AdapterTrained:
        """Return an adapter with the route as it is now: what people judge is what would serve."""
        async with self.db.read() as connection:
            state = await state_of(self.routes, connection, trained.route)
        return trained.model_copy(update={"spec": state.spec})

    async def _waits(self, job: Job, trained: AdapterTrained, started: float) -> bool:
        """Say whether people are still asked about another adapter of the route."""
        why = "rejected: a newer adapter was trained before people came to it"
        gate = GateResult(promote=False, tests=(), reasons=(why,))
        findings = Findings(gate, arms=(), calibrations=())
        seconds = time.monotonic() - started
        grammar = self.generator.grammar
        refused = adapter_evaluated(
            job.job_id, trained, findings, None, None, seconds, grammar, None
        )
        return await self.contests.puts_off(job, trained, refused)

    async def tidy(self) -> None:
        """Delete the transcripts of jobs that are over: they hold what users and models said."""
        for name in await self.jobs.finished_runs(self.transcripts.names()):
            self.transcripts.drop(name)

    async def _champion(self, route: str) -> AdapterRef | None:
        async with self.db.read() as connection:
            return (await state_of(self.routes, connection, route)).champion

    async def missed(self, route: str) -> float | None:
        """Return which share of wrong answers reviewers let pass at most; None before it is
        known.
        """
        async with self.db.read() as connection:
            return missed(await self.looks.pairs(connection, route)).bound

    async def _attempts(self, route: str) -> list[bool]:
        async with self.db.read() as connection:
            return await self._attempts_of(connection, route)

    async def _attempts_of(self, connection: AsyncConnection, route: str) -> list[bool]:
        """Return whether each tested adapter was promoted; one that people are asked about has its
        level, and has not been.
        """
        is_open = await self.contests.store.of_route(connection, route) is not None
        return await self.evaluations.attempts(connection, route) + [False] * is_open

    async def _keep_turn(self, tx: AsyncConnection, event: AdapterEvaluated) -> None:
        """Raise OutOfTurn where another adapter was tested at the level of this one."""
        tested = len(await self._attempts_of(tx, event.route))
        if event.attempt and tested + 1 != event.attempt:
            raise OutOfTurn(event.route)

    async def rows(self, trained: AdapterTrained) -> list[HeldOutRow]:
        """Return the rows of a dataset that are never trained on."""
        copy = self.cache_dir / "datasets" / trained.dataset.sha256
        folder = await asyncio.to_thread(self.blobs.get_folder, trained.dataset, copy)
        return await asyncio.to_thread(read_held_out, folder)

    async def load(self, adapter: AdapterRef) -> None:
        """Load an adapter from a folder of its own.

        vLLM's prefix cache knows an adapter by name and path, so neither may stand for two
        contents.
        """
        folder = self.cache_dir / "adapters" / adapter.blob.sha256
        await asyncio.to_thread(self.blobs.get_folder, adapter.blob, folder)
        try:
            await asyncio.to_thread(examine_adapter, folder)
        except AdapterFolderRefused as refused:
            raise AdapterUnfit(adapter.adapter_id, str(refused)) from refused
        await self.generator.load(adapter.adapter_id, folder)

    async def unload(self, contenders: Sequence[Contender]) -> None:
        """Unload what was loaded; where that fails, vLLM evicts the weights by itself."""
        try:
            for contender in contenders:
                if contender.adapter_id:
                    await self.generator.unload(contender.adapter_id)
        except Retryable as error:
            log("evaluation").warning("adapters not unloaded", error=str(error))

    async def _reject(self, job: Job, trained: AdapterTrained, why: str, started: float) -> None:
        """Reject an adapter that cannot be judged: nobody is asked anything."""
        gate = GateResult(promote=False, tests=(), reasons=(f"rejected: {why}",))
        findings = Findings(gate, arms=(), calibrations=())
        seconds = time.monotonic() - started
        grammar = self.generator.grammar
        event = adapter_evaluated(job.job_id, trained, findings, None, None, seconds, grammar, None)
        await self._publish(job, trained, findings, event)

    async def _publish(
        self, job: Job, trained: AdapterTrained, findings: Findings, event: AdapterEvaluated
    ) -> None:
        """Commit verdict, calibrations and the end of the job together.

        A worker that lost its lease raises LeaseLost, and nothing of it is published.
        """
        grammar = self.generator.grammar
        calibrations = calibrations_fitted(trained, findings.calibrations, grammar)
        async with self.db.transaction() as tx:
            await self._keep_turn(tx, event)
            await self.jobs.finish(
                tx, job, {"evaluation_id": event.evaluation_id, "verdict": event.verdict}
            )
            await self.evaluations.add(tx, event, calibrations)
            await self.populations.add(tx, calibrations)
            # First the calibrations: the router needs them to serve the adapter.
            await self.outbox.add(tx, *calibrations, event)
        log("evaluation").info(
            "evaluated",
            adapter_id=event.adapter.adapter_id,
            verdict=event.verdict,
            seconds=round(event.seconds, 1),
        )


def contenders_of(champion: AdapterRef | None, challenger: AdapterRef) -> list[Contender]:
    """Return the arms: the base model first, the challenger last."""
    return [
        Contender("base"),
        *([Contender("champion", champion.adapter_id)] if champion else []),
        Contender("challenger", challenger.adapter_id),
    ]
