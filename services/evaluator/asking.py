"""Asks every arm the same held-out rows; what was answered before a restart is not asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from schemas.route import RouteSpec
from services.evaluator.heldout import ArmAnswers, Contender, HeldOutRow, mark
from services.evaluator.ports import SILENCE, AdapterUnfit, Generator, NoAnswer
from services.evaluator.store.transcripts import TranscriptStore
from shared.errors import Retryable
from shared.jobs import Job, JobStore, LeaseLost
from shared.rules import Completion, Form, form_of

PROGRESS_SECONDS = 2.0
# Questions in a row that a challenger alone does not answer, until it is given up.
SILENCES = 3

Replies = dict[tuple[str, str], Completion]
"""What was answered so far, by (model, row id)."""


@dataclass
class Silences:
    """Questions in a row that the challenger did not answer."""

    in_a_row: int = 0


@dataclass(frozen=True)
class Questions:
    """Puts the questions of one evaluation; `concurrency` of them are in flight."""

    jobs: JobStore
    generator: Generator
    transcripts: TranscriptStore
    concurrency: int

    async def ask_all(
        self,
        job: Job,
        contenders: Sequence[Contender],
        rows: Sequence[HeldOutRow],
        spec: RouteSpec,
    ) -> list[ArmAnswers]:
        """Ask row by row through all arms, so that every arm meets the same load and latencies
        compare. Raises AdapterUnfit where the challenger does not answer while the base model does.
        """
        replies = self.transcripts.read(job.run_name)
        form = form_of(spec)
        silences = Silences()
        gate = asyncio.Semaphore(self.concurrency)
        async with self._progress(job, replies, len(rows) * len(contenders)):
            tasks = [
                asyncio.create_task(
                    self._ask(job, gate, replies, silences, contender, row, spec, form)
                )
                for row in rows
                for contender in contenders
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                # The first failure ends the attempt: the others must not go on asking.
                for task in tasks:
                    task.cancel()
        return [
            mark(contender, rows, [replies[contender.model, row.row_id] for row in rows], spec)
            for contender in contenders
        ]

    async def _ask(
        self,
        job: Job,
        gate: asyncio.Semaphore,
        replies: Replies,
        silences: Silences,
        contender: Contender,
        row: HeldOutRow,
        spec: RouteSpec,
        form: Form,
    ) -> None:
        key = contender.model, row.row_id
        if key in replies:
            return
        async with gate:
            replies[key] = await self._reply(silences, contender, row, spec, form)
        self.transcripts.add(job.run_name, job.token, *key, replies[key])

    async def _reply(
        self,
        silences: Silences,
        contender: Contender,
        row: HeldOutRow,
        spec: RouteSpec,
        form: Form,
    ) -> Completion:
        """Ask one arm one question. What the challenger does not answer while the base model does
        counts as wrong: waiting for it would hold up every route.
        """
        is_challenger = contender.arm == "challenger"
        asked = contender.prompt(spec, row.messages)
        try:
            reply = await self.generator.ask(contender.model, asked, spec.max_tokens, form)
        except NoAnswer as silence:
            if not is_challenger:
                raise
            # Raises EngineAway where it is not the challenger's fault.
            plain = spec.detailed_messages(row.messages)
            await self.generator.ask("base", plain, spec.max_tokens, form)
            silences.in_a_row += 1
            if silences.in_a_row >= SILENCES:
                raise AdapterUnfit(
                    contender.model,
                    f"it gave no answer to {SILENCES} questions in a row, and the base model did",
                ) from silence
            return SILENCE
        if is_challenger:
            silences.in_a_row = 0
        return reply

    @asynccontextmanager
    async def _progress(self, job: Job, replies: Replies, total: int) -> AsyncIterator[None]:
        """Report progress to people every two seconds while the questions are put."""

        async def report() -> None:
            while True:
                await asyncio.sleep(PROGRESS_SECONDS)
                # A lost lease is the heartbeat's business, which stops this job.
                with suppress(LeaseLost, Retryable):
                    async with self.jobs.db.transaction() as tx:
                        await self.jobs.report(tx, job, {"asked": len(replies), "of": total})

        reporting = asyncio.create_task(report())
        try:
            yield
        finally:
            reporting.cancel()
