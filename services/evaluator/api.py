"""HTTP in: evaluations and their reports, the state of the drift monitors and their evidence."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from schemas.base import BlobRef
from services.evaluator.monitor import Monitor
from shared.errors import NotFound
from shared.http.auth import Principal, require
from shared.jobs.worker import Job

router = APIRouter(tags=["evaluations"])
Reader = Annotated[Principal, Depends(require("read"))]
Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0)]
# A report is shown without this origin's rights: no cookies, no network. Evidently draws its plots
# with inline scripts.
PLAIN = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
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


def page(items: list[dict[str, Any]], offset: int, limit: int) -> dict[str, Any]:
    return {"items": items, "next": offset + limit if len(items) == limit else None}


@router.get("/v1/evaluations")
async def list_evaluations(
    request: Request,
    principal: Reader,
    adapter_id: str | None = None,
    route: str | None = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> dict[str, Any]:
    """Verdicts with their numbers (`adapter-evaluated` events), newest first."""
    async with request.app.state.db.read() as connection:
        return page(
            await request.app.state.evaluations.page(
                connection, principal.tenant, adapter_id, route, limit, offset
            ),
            offset,
            limit,
        )


@router.get("/v1/evaluations/{evaluation_id}")
async def show_evaluation(
    request: Request, principal: Reader, evaluation_id: str
) -> dict[str, Any]:
    """One verdict, and the calibrations published with it."""
    async with request.app.state.db.read() as connection:
        return await request.app.state.evaluations.get(connection, principal.tenant, evaluation_id)


@router.get("/v1/evaluations/{evaluation_id}/report")
async def show_report(request: Request, principal: Reader, evaluation_id: str) -> HTMLResponse:
    """The HTML report: arms, tests, confusion, reliability, failures, and what was decided."""
    return await _report(
        request, await show_evaluation(request, principal, evaluation_id), evaluation_id, PLAIN
    )


@router.get("/v1/drift")
async def show_drift(
    request: Request,
    principal: Reader,
    route: str | None = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> dict[str, Any]:
    """What the monitors have seen so far, and the alarms they raised (newest first)."""
    async with request.app.state.db.read() as connection:
        monitors = await request.app.state.monitors.all(connection)
        alarms = await request.app.state.monitors.alarms_of(
            connection, principal.tenant, route, limit, offset
        )
    mine = [
        monitor
        for monitor in monitors
        if monitor.tenant == principal.tenant and route in (None, monitor.route)
    ]
    return {"monitors": [as_json(monitor) for monitor in mine]} | page(alarms, offset, limit)


@router.get("/v1/drift/{drift_id}/report")
async def show_evidence(request: Request, principal: Reader, drift_id: str) -> HTMLResponse:
    """Evidently's report of the window that raised the alarm."""
    async with request.app.state.db.read() as connection:
        event = await request.app.state.monitors.alarm(connection, principal.tenant, drift_id)
    return await _report(request, event, drift_id, DRAWN)


async def _report(request: Request, event: dict[str, Any], about: str, policy: str) -> HTMLResponse:
    if event["report"] is None:
        raise NoReport(about)
    html = await asyncio.to_thread(request.app.state.blobs.get_bytes, BlobRef(**event["report"]))
    return HTMLResponse(
        html, headers={"content-security-policy": policy, "x-content-type-options": "nosniff"}
    )


def as_json(monitor: Monitor) -> dict[str, Any]:
    """A monitor as people ask about it."""
    return {
        "route": monitor.route,
        "adapter_id": monitor.adapter_id,
        "input": {
            "reference": monitor.reference,
            "window": monitor.window,
            "windows_compared": monitor.windows,
            "last_fired": json.loads(monitor.recent),
            "last_statistics": json.loads(monitor.statistics),
            "drift_id": monitor.input_drift_id,
        },
        "errors": {
            "tolerated": monitor.tolerated,
            "labels": monitor.labels,
            "errors": monitor.errors,
            "statistic": monitor.detector.statistic,
            "threshold": monitor.run_length,
            "drift_id": monitor.error_drift_id,
        },
    }


def described(job: Job) -> dict[str, Any]:
    """What an evaluation is about, beside what every job shows."""
    return {
        "adapter_id": job.payload["adapter"]["adapter_id"],
        "dataset_id": job.payload["dataset_id"],
    }
