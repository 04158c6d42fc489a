"""HTTP in: evaluations and their reports, the state of the drift monitors and their evidence."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from schemas.base import BlobRef, JsonObject
from services.evaluator.contests import CONCLUDE, Contests
from services.evaluator.monitor import ErrorDetector, Monitor, labels_to_find
from services.evaluator.store.answered import AnsweredStore
from services.evaluator.store.evaluations import EvaluationStore
from services.evaluator.store.monitors import MonitorStore
from shared.errors import NotFound
from shared.http import Id, Limit, Offset, Principal, Wanted, page, require
from shared.jobs import Job
from shared.storage import BlobStore, Database

Reader = Annotated[Principal, Depends(require("read"))]

# A report is shown without this origin's rights: no cookies, no network.
PLAIN = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Evidently draws its plots with inline scripts.
DRAWN = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src"
    " 'unsafe-inline'; img-src data: blob:; font-src data:"
)


class NoReport(NotFound):
    def __init__(self, about: str) -> None:
        super().__init__(
            f"'{about}' has no report: making it failed, the log of the evaluator says why; its"
            " numbers are complete"
        )


@dataclass(frozen=True)
class EvaluationsApi:
    """One method per endpoint; every answer stays within the caller's tenant."""

    db: Database
    evaluations: EvaluationStore
    contests: Contests
    monitors: MonitorStore
    answered: AnsweredStore
    blobs: BlobStore

    async def list_evaluations(
        self,
        principal: Reader,
        adapter_id: Wanted = None,
        route: Wanted = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> JsonObject:
        """Verdicts with their numbers (`adapter-evaluated` events), newest first; and, whatever the
        filters, `contests`: adapters for free text that people are asked about now.
        """
        async with self.db.read() as connection:
            found = await self.evaluations.page(
                connection, principal.tenant, adapter_id, route, limit, offset
            )
            contests = await self.contests.open_ones(connection, principal.tenant)
        return {"contests": contests} | page(found, offset, limit)

    async def show_evaluation(self, principal: Reader, evaluation_id: Id) -> JsonObject:
        """Return one verdict, and the calibrations published with it."""
        async with self.db.read() as connection:
            return await self.evaluations.get(connection, principal.tenant, evaluation_id)

    async def show_report(self, principal: Reader, evaluation_id: Id) -> HTMLResponse:
        """Return the HTML report: arms, tests, confusion, reliability, failures, decision."""
        event = await self.show_evaluation(principal, evaluation_id)
        return await self._report(event, evaluation_id, PLAIN)

    async def show_drift(
        self,
        principal: Reader,
        route: Wanted = None,
        offset: Offset = 0,
        limit: Limit = 50,
    ) -> JsonObject:
        """Return what the monitors have seen so far, and the alarms they raised (newest first)."""
        now = time.time()
        async with self.db.read() as connection:
            monitors = [
                monitor
                for monitor in await self.monitors.all(connection)
                if monitor.tenant == principal.tenant and route in (None, monitor.route)
            ]
            labels = [
                await self.answered.labels_a_day(connection, monitor.route, now)
                for monitor in monitors
            ]
            alarms = await self.monitors.alarms_of(
                connection, principal.tenant, route, limit, offset
            )
        shown = [as_json(monitor, a_day) for monitor, a_day in zip(monitors, labels, strict=True)]
        return {"monitors": shown} | page(alarms, offset, limit)

    async def show_accuracy(self, principal: Reader, route: Wanted = None) -> JsonObject:
        """Return how often answers were right lately: of each route in all, and by who answered."""
        async with self.db.read() as connection:
            found = [
                one
                for name in await self.answered.routes(connection)
                if name.startswith(f"{principal.tenant}/") and route in (None, name)
                for one in await self.answered.accuracy(connection, name, time.time())
            ]
        return {"days": self.answered.days, "items": [asdict(one) for one in found]}

    async def show_evidence(self, principal: Reader, drift_id: Id) -> HTMLResponse:
        """Evidently's report of the window that raised the alarm."""
        async with self.db.read() as connection:
            event = await self.monitors.alarm(connection, principal.tenant, drift_id)
        return await self._report(event, drift_id, DRAWN)

    async def _report(self, event: JsonObject, about: str, policy: str) -> HTMLResponse:
        if event["report"] is None:
            raise NoReport(about)
        html = await asyncio.to_thread(self.blobs.get_bytes, BlobRef(**event["report"]))
        return HTMLResponse(
            html,
            headers={"content-security-policy": policy, "x-content-type-options": "nosniff"},
        )


def evaluations_api(
    db: Database,
    evaluations: EvaluationStore,
    contests: Contests,
    monitors: MonitorStore,
    answered: AnsweredStore,
    blobs: BlobStore,
) -> APIRouter:
    api = EvaluationsApi(db, evaluations, contests, monitors, answered, blobs)
    router = APIRouter(tags=["evaluations"])
    router.get("/v1/evaluations")(api.list_evaluations)
    router.get("/v1/evaluations/{evaluation_id}")(api.show_evaluation)
    router.get("/v1/evaluations/{evaluation_id}/report")(api.show_report)
    router.get("/v1/drift")(api.show_drift)
    router.get("/v1/accuracy")(api.show_accuracy)
    router.get("/v1/drift/{drift_id}/report")(api.show_evidence)
    return router


def as_json(monitor: Monitor, labels_a_day: float) -> JsonObject:
    """Show a monitor in the words that people ask with."""
    return {
        "route": monitor.route,
        "adapter_id": monitor.adapter_id,
        "input": {
            "state": monitor.state,
            "reference": monitor.reference,
            "window": monitor.window,
            "windows_compared": monitor.windows,
            "windows_waiting": monitor.unmatched,
            "last_fired": list(monitor.recent),
            "last_statistics": [statistic.model_dump() for statistic in monitor.statistics],
            "drift_id": monitor.input_drift_id,
            "awaits_labels": monitor.pending is not None,
        },
        "errors": shown_detector(monitor.tolerance, labels_a_day)
        | {"tolerated": monitor.tolerance.bar, "drift_id": monitor.error_drift_id},
        "rise": shown_detector(monitor.rise, labels_a_day) | {"bar": monitor.rise.bar},
        "labels_a_day": labels_a_day,
    }


def shown_detector(detector: ErrorDetector, labels_a_day: float) -> JsonObject:
    """Show a detector, with about how long it takes to an alarm when errors double."""
    delay = None
    if detector.bar is not None:
        delay = labels_to_find(detector.bar, min(2 * detector.bar, 1.0), detector.run_length)
    return {
        "labels": detector.labels,
        "errors": detector.errors,
        "statistic": detector.statistic,
        "threshold": detector.run_length,
        "labels_to_find_twice_the_bar": delay and round(delay),
        "days_to_find_twice_the_bar": delay and labels_a_day and round(delay / labels_a_day, 1),
    }


def described(job: Job) -> JsonObject:
    """Say what an evaluation is about, beside what every job shows."""
    if job.kind == CONCLUDE:
        return {"evaluation_id": job.payload["evaluation_id"]}
    return {
        "adapter_id": job.payload["adapter"]["adapter_id"],
        "dataset_id": job.payload["dataset_id"],
    }
