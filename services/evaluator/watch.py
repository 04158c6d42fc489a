"""The loop that compares windows and raises drift alarms, outside the handlers.

A window's result, the alarm that follows from it and its event commit together; killed before that,
the window is compared again. The evidence is made first, and an alarm whose evidence fails goes out
without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from schemas.base import BlobRef, JsonObject, uuid7
from schemas.events import DriftDetected, Statistic
from services.evaluator.drift import OF_LAST, compare, sustained
from services.evaluator.monitor import Monitor
from services.evaluator.observed import (
    AuditedVerdict,
    Observation,
    StoredObservation,
    as_sample,
)
from services.evaluator.ports import Reports
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.streams import StreamStore
from shared.describing import describe
from shared.errors import Retryable
from shared.events import Outbox
from shared.storage import Database
from shared.telemetry import log

POLL_SECONDS = 1.0
# Verdicts that the error report shows as "current".
RECENT_LABELS = 100


@dataclass(frozen=True)
class Watch:
    """Looks at every route's monitor in turn."""

    db: Database
    outbox: Outbox
    monitors: MonitorStore
    streams: StreamStore
    reports: Reports

    async def run(self) -> None:
        """Run until cancelled. Trouble with one look is logged and the next one tries again."""
        while True:
            try:
                while await self.look():
                    pass
            # It must outlive a locked database.
            except Exception as error:  # noqa: BLE001
                log("watch").error("monitor trouble", error=describe(error))
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> bool:
        """Take one step for every route; return whether there may be more to do at once."""
        async with self.db.read() as connection:
            routes = await self.monitors.routes(connection)
        return any([await self._step(route) for route in routes])

    async def _step(self, route: str) -> bool:
        """Look at one route; what is wrong with it keeps no other from being watched."""
        try:
            async with self.db.read() as connection:
                monitor = await self.monitors.see(connection, route)
            if monitor is None:
                return False
            return await self._errors(monitor) or await self._window(monitor)
        except Retryable:
            raise
        except Exception as error:  # noqa: BLE001
            log("watch").error("monitor trouble", route=route, error=describe(error))
            return False

    async def _window(self, monitor: Monitor) -> bool:
        """Compare the next window; return False when it is not complete yet."""
        async with self.db.read() as connection:
            reference = await self.streams.after(
                connection, monitor.route, monitor.adapter_id, monitor.since, monitor.reference
            )
            if len(reference) < monitor.reference:
                return False
            cursor = monitor.cursor or reference[-1].seq
            window = await self.streams.after(
                connection, monitor.route, monitor.adapter_id, cursor, monitor.window
            )
        if len(window) < monitor.window:
            return False
        statistics = await asyncio.to_thread(
            compare, as_sample(reference), as_sample(window), monitor.windows
        )
        await self._settle(monitor, reference, window, statistics)
        return True

    async def _settle(
        self,
        monitor: Monitor,
        reference: Sequence[StoredObservation],
        window: Sequence[StoredObservation],
        statistics: tuple[Statistic, ...],
    ) -> None:
        """Store what a window showed, and raise the alarm where it is due.

        Windows overlap by half, so that a change is soon seen whole; the older half is forgotten.
        """
        fired = any(statistic.fired for statistic in statistics)
        recent = (*monitor.recent, fired)[-OF_LAST:]
        done = window[max(monitor.window // 2, 1) - 1].seq
        after = replace(
            monitor,
            cursor=done,
            windows=monitor.windows + 1,
            recent=recent,
            statistics=statistics,
        )
        event = None
        if sustained(recent) and monitor.input_drift_id is None:
            content = {"reference": as_rows(reference), "current": as_rows(window)}
            event = drift_detected(
                monitor,
                "input",
                statistics,
                reference_size=len(reference),
                window_size=len(window),
                started_at=window[0].at,
                report=await self.reports.drift(content),
            )
            after = replace(after, input_drift_id=event.drift_id)
        await self._commit(monitor, after, event, forget=(reference[-1].seq, done))

    async def _errors(self, monitor: Monitor) -> bool:
        """Report an error alarm once; the handler has counted the verdicts."""
        if not monitor.error_fired or monitor.error_drift_id:
            return False
        async with self.db.read() as connection:
            audited = await self.streams.audited(connection, monitor.route, monitor.adapter_id)
        before = audited[:-RECENT_LABELS]
        current = audited[-RECENT_LABELS:]
        content = {"reference": verdict_rows(before), "current": verdict_rows(current)}
        statistic = Statistic(
            name="error-e-sr",
            value=monitor.detector.statistic,
            threshold=monitor.detector.run_length,
            fired=True,
        )
        event = drift_detected(
            monitor,
            "errors",
            (statistic,),
            reference_size=len(before),
            window_size=len(current),
            started_at=current[0].at if current else None,
            report=await self.reports.drift(content) if before else None,
        )
        await self._commit(monitor, replace(monitor, error_drift_id=event.drift_id), event)
        return True

    async def _commit(
        self,
        seen: Monitor,
        after: Monitor,
        event: DriftDetected | None,
        forget: tuple[int, int] | None = None,
    ) -> None:
        """Write only what this step changed.

        Verdicts may have been counted meanwhile. Where another replica took the step, or the
        champion was replaced, nothing is written. `forget` are the observations to delete, as
        (after, up to).
        """
        changed = {
            name: value for name, value in vars(after).items() if value != getattr(seen, name)
        }
        async with self.db.transaction() as tx:
            now = await self.monitors.get(tx, seen.route)
            if now is None or (now.episode, now.windows, now.error_drift_id) != (
                seen.episode,
                seen.windows,
                seen.error_drift_id,
            ):
                return
            await self.monitors.save(tx, replace(now, **changed))
            if forget:
                await self.streams.forget(tx, seen.route, seen.adapter_id, *forget)
            if event:
                await self.monitors.raise_alarm(tx, event)
                await self.outbox.add(tx, event)
                log("watch").warning(
                    "drift detected",
                    route=event.route,
                    monitor=event.monitor,
                    drift_id=event.drift_id,
                )


def drift_detected(
    monitor: Monitor,
    kind: Literal["input", "errors"],
    statistics: tuple[Statistic, ...],
    *,
    reference_size: int,
    window_size: int,
    started_at: float | None,
    report: BlobRef | None,
) -> DriftDetected:
    """Return the alarm's event. `started_at` is seconds since the epoch."""
    started = datetime.fromtimestamp(started_at, UTC) if started_at is not None else None
    return DriftDetected(
        tenant=monitor.tenant,
        route=monitor.route,
        drift_id=uuid7(),
        monitor=kind,
        adapter_id=monitor.adapter_id,
        statistics=statistics,
        reference_size=reference_size,
        window_size=window_size,
        report=report,
        window_started_at=started,
    )


def as_rows(observations: Sequence[Observation]) -> list[JsonObject]:
    """Return the columns that Evidently compares."""
    return [
        {
            "confidence": seen.score,
            "words": seen.words,
            "label": seen.label,
            "outcome": seen.outcome,
        }
        for seen in observations
    ]


def verdict_rows(audited: Sequence[AuditedVerdict]) -> list[JsonObject]:
    return [
        {"correct": "right" if verdict.right else "wrong", "confidence": verdict.score}
        for verdict in audited
    ]
