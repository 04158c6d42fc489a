"""The loop that compares windows and raises drift alarms, outside the handlers.

A window's result, the alarm that follows from it and its event commit together; killed before that,
the window is compared again. The evidence is made first, and an alarm whose evidence fails goes out
without it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from schemas.base import BlobRef, uuid7
from schemas.events import DriftDetected, Statistic
from services.evaluator.drift import OF_LAST, compare, sustained
from services.evaluator.monitor import Monitor
from services.evaluator.observed import as_sample
from services.evaluator.ports import Monitors, Reports, Streams
from shared.events.outbox import Outbox
from shared.storage.db import Database
from shared.telemetry import log

POLL_SECONDS = 1.0
RECENT_LABELS = 100  # what the error report shows as "current"


class Watch:
    def __init__(
        self, db: Database, outbox: Outbox, monitors: Monitors, streams: Streams, reporter: Reports
    ) -> None:
        self.db = db
        self.outbox = outbox
        self.monitors = monitors
        self.streams = streams
        self.reporter = reporter

    async def run(self) -> None:
        """For ever. Trouble with one look is logged and the next one tries again."""
        while True:
            try:
                while await self.look():
                    pass
            # a monitor must outlive a locked database or a bad row
            except Exception as error:  # noqa: BLE001
                log("watch").error("monitor trouble", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> bool:
        """One step for every route; says whether there may be more to do at once."""
        async with self.db.read() as connection:
            monitors = await self.monitors.all(connection)
        return any(
            [await self._errors(monitor) or await self._window(monitor) for monitor in monitors]
        )

    async def _window(self, monitor: Monitor) -> bool:
        """Compare the next window, if it is complete."""
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
        reference: Sequence[Any],
        window: Sequence[Any],
        statistics: tuple[Statistic, ...],
    ) -> None:
        """Windows overlap by half, so that a change is seen whole soon; the older half is
        forgotten.
        """
        recent = [*json.loads(monitor.recent), any(statistic.fired for statistic in statistics)][
            -OF_LAST:
        ]
        done = window[max(monitor.window // 2, 1) - 1].seq
        after = replace(
            monitor,
            cursor=done,
            windows=monitor.windows + 1,
            recent=json.dumps(recent),
            statistics=json.dumps([statistic.model_dump() for statistic in statistics]),
        )
        event = None
        if sustained(recent) and monitor.input_drift_id is None:
            evidence = await self.reporter.drift(
                {"reference": _rows(reference), "current": _rows(window)}
            )
            event = _alarm(
                monitor, "input", statistics, len(reference), len(window), window[0].at, evidence
            )
            after = replace(after, input_drift_id=event.drift_id)
        await self._commit(monitor, after, event, forget=(reference[-1].seq, done))

    async def _errors(self, monitor: Monitor) -> bool:
        """The handler has counted; here the alarm is reported, once."""
        if not monitor.error_fired or monitor.error_drift_id:
            return False
        async with self.db.read() as connection:
            audited = await self.streams.audited(connection, monitor.route, monitor.adapter_id)
        before = audited[:-RECENT_LABELS]
        current = audited[-RECENT_LABELS:]
        evidence = (
            await self.reporter.drift(
                {"reference": _verdicts(before), "current": _verdicts(current)}
            )
            if before
            else None
        )
        statistic = Statistic(
            name="error-e-sr",
            value=monitor.detector.statistic,
            threshold=monitor.run_length,
            fired=True,
        )
        event = _alarm(
            monitor,
            "errors",
            (statistic,),
            len(before),
            len(current),
            current[0].at if current else None,
            evidence,
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
        """Only what this step changed is written: verdicts may have been counted meanwhile, or the
        champion replaced.
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


def _alarm(
    monitor: Monitor,
    kind: str,
    statistics: tuple[Statistic, ...],
    reference: int,
    window: int,
    started: float | None,
    report: BlobRef | None,
) -> DriftDetected:
    return DriftDetected(
        tenant=monitor.tenant,
        route=monitor.route,
        drift_id=uuid7(),
        monitor=kind,
        adapter_id=monitor.adapter_id,
        statistics=statistics,
        reference_size=reference,
        window_size=window,
        report=report,
        window_started_at=datetime.fromtimestamp(started, UTC) if started is not None else None,
    )


def _rows(observations: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"confidence": row.score, "words": row.words, "label": row.label, "outcome": row.outcome}
        for row in observations
    ]


def _verdicts(reviews: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "correct": "right" if row.verdict == "approved" else "wrong",
            "confidence": row.score or 0.0,
        }
        for row in reviews
    ]
