"""What an alarm says, and how it is raised together with the step that found it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from schemas.base import BlobRef, JsonObject, uuid7
from schemas.events import DriftDetected
from schemas.monitoring import Statistic
from services.evaluator.accuracy import Estimate
from services.evaluator.monitor import Monitor
from services.evaluator.store.answered import AnsweredStore, of_all
from services.evaluator.store.monitors import MonitorStore
from services.evaluator.store.streams import StreamStore
from shared.events import Outbox
from shared.storage import Database
from shared.telemetry import log


@dataclass(frozen=True)
class Alarms:
    db: Database
    outbox: Outbox
    monitors: MonitorStore
    streams: StreamStore
    answered: AnsweredStore

    async def commit(
        self,
        seen: Monitor,
        change: Callable[[Monitor], Monitor],
        event: DriftDetected | None,
        forget: Sequence[int] = (),
    ) -> None:
        """Change the monitor as it is by now: verdicts may have been counted meanwhile.

        Where another replica took the step, or the champion was replaced, nothing is written.
        `forget` are the observations to delete.
        """
        async with self.db.transaction() as tx:
            now = await self.monitors.get(tx, seen.route)
            if now is None or place_of(now) != place_of(seen):
                return
            await self.monitors.save(tx, change(now))
            await self.streams.forget(tx, forget)
            if event:
                known = of_all(await self.answered.accuracy(tx, seen.route, time.time()))
                event = event.model_copy(update=in_figures(known))
                await self.monitors.raise_alarm(tx, event)
                await self.outbox.add(tx, event)
                log("watch").warning(
                    "drift detected",
                    route=event.route,
                    monitor=event.monitor,
                    drift_id=event.drift_id,
                )


def place_of(monitor: Monitor) -> tuple[object, ...]:
    """Return what changes with each step of the watch."""
    return monitor.episode, monitor.cursor, monitor.error_drift_id, monitor.pending


def in_figures(known: Estimate | None) -> JsonObject:
    if known is None:
        return {}
    return {
        "accuracy": known.accuracy,
        "accuracy_low": known.low,
        "accuracy_high": known.high,
    }


def drift_detected(
    monitor: Monitor,
    kind: Literal["input", "errors"],
    statistics: tuple[Statistic, ...],
    *,
    reference_size: int,
    window_size: int,
    started_at: float | None,
    report: BlobRef | None,
    confirms: str | None = None,
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
        confirms=confirms,
    )
