"""The evaluation of one adapter, as a stored job: ask every arm the same held-out rows, judge,
report, publish.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.base import AdapterRef, BlobRef, uuid7
from schemas.events import AdapterEvaluated, AdapterTrained, CalibrationFitted, Probe
from services.evaluator.calibration import Calibration
from services.evaluator.champions import state_of
from services.evaluator.findings import Findings, judge, report_rows
from services.evaluator.gates import Decision
from services.evaluator.heldout import Answered, Contender, HeldOutRow, mark, read_held_out
from services.evaluator.ports import (
    AdapterUnfit,
    Evaluations,
    Generator,
    Reply,
    Reports,
    Transcripts,
)
from services.evaluator.probe import choose_probe
from shared.errors import Retryable
from shared.events.outbox import Outbox
from shared.jobs.worker import Job, JobStore, LeaseLost
from shared.rules.routes import RouteBook
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from shared.telemetry import log

PROGRESS_SECONDS = 2.0
ALLOWED_SUFFIXES = {
    ".safetensors",
    ".json",
    ".md",
    ".yaml",
    ".yml",
    ".txt",
    "",
}  # .bin and .pt unpickle, .py and .jinja execute


class Evaluation:
    """Everything an evaluation needs; `run` is the job."""

    def __init__(
        self,
        db: Database,
        jobs: JobStore,
        outbox: Outbox,
        routes: RouteBook,
        store: Evaluations,
        blobs: BlobStore,
        generator: Generator,
        transcripts: Transcripts,
        reporter: Reports,
        cache_dir: Path,
        concurrency: int,
    ) -> None:
        self.db = db
        self.jobs = jobs
        self.outbox = outbox
        self.routes = routes
        self.store = store
        self.blobs = blobs
        self.generator = generator
        self.transcripts = transcripts
        self.reporter = reporter
        self.cache_dir = cache_dir.resolve()
        self.concurrency = concurrency

    async def run(self, job: Job) -> None:
        started = time.monotonic()
        trained = AdapterTrained.model_validate(job.payload)
        champion = await self._champion(trained.route)
        rows = await asyncio.to_thread(self._rows, trained)
        contenders = [
            Contender("base"),
            *([Contender("champion", champion.adapter_id)] if champion else []),
            Contender("challenger", trained.adapter.adapter_id),
        ]
        await self._load(champion)
        try:
            await self._load(trained.adapter)
        except AdapterUnfit as unfit:
            await self._publish(
                job,
                trained,
                Findings(Decision(False, (), (f"rejected: {unfit}",)), (), {}),
                None,
                None,
                started,
            )
            return
        answered = await self._ask_all(job, contenders, rows, trained)
        findings = await asyncio.to_thread(judge, rows, answered, trained.spec)
        probe = await choose_probe(self.generator, rows, answered[-1], answered[0], trained.spec)
        report = await self.reporter.evaluation(
            _report_content(job, trained, findings, report_rows(rows, answered, trained.spec))
        )
        await self._publish(job, trained, findings, probe, report, started)
        self.transcripts.drop(job.name)
        await self._unload(contenders)

    async def tidy(self) -> None:
        """What was answered for a job that is over is not kept: it is what users wrote, and what
        models said to it.
        """
        for name in await self.jobs.over(self.transcripts.names()):
            self.transcripts.drop(name)

    async def _champion(self, route: str) -> AdapterRef | None:
        async with self.db.read() as connection:
            return (await state_of(self.routes, connection, route)).champion

    def _rows(self, trained: AdapterTrained) -> list[HeldOutRow]:
        return read_held_out(
            self.blobs.get_folder(
                trained.dataset, self.cache_dir / "datasets" / trained.dataset.sha256
            )
        )

    async def _load(self, adapter: AdapterRef | None) -> None:
        """From a folder of its own: vLLM's prefix cache knows an adapter by name and path
        (reliability page, D2).
        """
        if adapter is None:
            return
        folder = self.cache_dir / "adapters" / adapter.blob.sha256
        await asyncio.to_thread(self.blobs.get_folder, adapter.blob, folder)
        check_adapter(adapter.adapter_id, folder)
        await self.generator.load(adapter.adapter_id, folder)

    async def _unload(self, contenders: list[Contender]) -> None:
        """Tidiness only: the verdict is out, and vLLM evicts the weights by itself."""
        try:
            for contender in contenders:
                if contender.adapter_id:
                    await self.generator.unload(contender.adapter_id)
        except Retryable as error:
            log("evaluation").warning("adapters not unloaded", error=str(error))

    async def _ask_all(
        self, job: Job, contenders: list[Contender], rows: list[HeldOutRow], trained: AdapterTrained
    ) -> list[Answered]:
        """Row by row through all arms, so that every arm meets the same load and latencies
        compare.
        """
        gate = asyncio.Semaphore(self.concurrency)
        replies = self.transcripts.read(job.name)
        total = len(rows) * len(contenders)

        async def ask(contender: Contender, row: HeldOutRow) -> Reply:
            key = contender.model, row.row_id
            if key not in replies:
                async with gate:
                    replies[key] = await self.generator.ask(
                        contender.model,
                        contender.prompt(trained.spec, row.messages),
                        trained.spec.max_tokens,
                        contender.choices(trained.spec),
                    )
                self.transcripts.add(job.name, job.token, *key, replies[key])
            return replies[key]

        async def watch() -> None:
            while True:
                await asyncio.sleep(PROGRESS_SECONDS)
                with suppress(
                    LeaseLost, Retryable
                ):  # the heartbeat stops what is lost; progress is for people
                    async with self.db.transaction() as tx:
                        await self.jobs.report(tx, job, {"asked": len(replies), "of": total})

        watching = asyncio.create_task(watch())
        tasks = [
            [asyncio.create_task(ask(contender, row)) for contender in contenders] for row in rows
        ]
        try:
            await asyncio.gather(*(task for of_row in tasks for task in of_row))
        finally:  # the first failure ends the attempt: the others must not go on asking
            for task in (watching, *(task for of_row in tasks for task in of_row)):
                task.cancel()
        return [
            mark(contender, rows, [of_row[i].result() for of_row in tasks], trained.spec)
            for i, contender in enumerate(contenders)
        ]

    async def _publish(
        self,
        job: Job,
        trained: AdapterTrained,
        findings: Findings,
        probe: Probe | None,
        report: BlobRef | None,
        started: float,
    ) -> None:
        """Verdict, calibrations and the end of the job commit together; a stale worker's are rolled
        back.
        """
        event = _evaluated(job, trained, findings, probe, report, time.monotonic() - started)
        calibrations = [
            _fitted(trained, adapter_id, found)
            for adapter_id, found in findings.calibrations.items()
        ]
        async with self.db.transaction() as tx:
            await self.jobs.finish(
                tx, job, {"evaluation_id": event.evaluation_id, "verdict": event.verdict}
            )
            await self.store.add(tx, event, calibrations)
            await self.outbox.add(
                tx, *calibrations, event
            )  # first the calibrations: the router needs them to serve it
        log("evaluation").info(
            "evaluated",
            adapter_id=event.adapter.adapter_id,
            verdict=event.verdict,
            seconds=round(event.seconds, 1),
        )


def check_adapter(adapter_id: str, folder: Path) -> None:
    """Only data may reach the engine: no pickles, no code, no links out of the folder."""
    strange = sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_symlink() or path.suffix not in ALLOWED_SUFFIXES
    )
    if strange:
        raise AdapterUnfit(
            adapter_id,
            f"its folder holds {', '.join(strange)}; an adapter is safetensors, JSON and text only",
        )
    if not (folder / "adapter_model.safetensors").exists():
        raise AdapterUnfit(adapter_id, "its folder lacks adapter_model.safetensors")


def _evaluated(
    job: Job,
    trained: AdapterTrained,
    findings: Findings,
    probe: Probe | None,
    report: BlobRef | None,
    seconds: float,
) -> AdapterEvaluated:
    decision = findings.decision
    return AdapterEvaluated(
        tenant=trained.tenant,
        route=trained.route,
        evaluation_id=job.job_id,
        adapter=trained.adapter,
        dataset_id=trained.dataset_id,
        verdict="promote" if decision.promote else "reject",
        reasons=decision.reasons,
        arms=findings.arms,
        tests=decision.tests,
        probe=probe,
        report=report,
        seconds=seconds,
    )


def _fitted(
    trained: AdapterTrained, adapter_id: str | None, found: Calibration
) -> CalibrationFitted:
    return CalibrationFitted(
        tenant=trained.tenant,
        route=trained.route,
        calibration_id=uuid7(),
        adapter_id=adapter_id,
        alpha=trained.spec.targets.max_risk,
        **asdict(found),
    )


def _report_content(
    job: Job, trained: AdapterTrained, findings: Findings, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    decision = findings.decision
    return {
        "evaluation_id": job.job_id,
        "route": trained.route,
        "adapter_id": trained.adapter.adapter_id,
        "dataset_id": trained.dataset_id,
        "base_model": trained.base_model,
        "recipe": trained.recipe,
        "task": trained.spec.task,
        "max_risk": trained.spec.targets.max_risk,
        "promote": decision.promote,
        "reasons": list(decision.reasons),
        "rows": rows,
        "tests": [test.model_dump() for test in decision.tests],
        "arms": [arm.model_dump() for arm in findings.arms],
        "calibrations": [
            {"adapter_id": adapter_id} | asdict(found)
            for adapter_id, found in findings.calibrations.items()
        ],
    }
