"""Have answers got worse? Raises what the error detectors found, and looks at the labels that an
input alarm asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from schemas.base import JsonObject
from schemas.monitoring import Statistic
from services.evaluator.accuracy import rise, worth
from services.evaluator.alarms import Alarms, drift_detected
from services.evaluator.monitor import Monitor
from services.evaluator.observed import AuditedVerdict
from services.evaluator.ports import Reports
from services.evaluator.store.streams import StreamStore
from shared.storage import Database

# Verdicts that the error report shows as "current".
RECENT_LABELS = 100
# Names of the error detectors, in events.
TOLERANCE = "error-e-sr"
RISE = "error-rise-e-sr"
# Labels of the batch that an input alarm asked for, at the first look at them and at the last. Each
# look is a test at this level, so that four of them bear out at most 4 % of the alarms under which
# nothing got worse.
FIRST_LOOK = 20
LAST_LOOK = 160
LOOK_LEVEL = 0.01
# How long an alarm waits for its labels, and how far back what came before it is looked at.
PENDING_SECONDS = 7 * 86_400.0
BEFORE_SECONDS = 28 * 86_400.0


@dataclass(frozen=True)
class Rises:
    db: Database
    streams: StreamStore
    reports: Reports
    alarms: Alarms

    async def counted(self, monitor: Monitor) -> bool:
        """Report that the error rate has risen; the handlers have counted the verdicts.

        The detector that fired starts again, so that the next alarm can come.
        """
        detectors = {TOLERANCE: monitor.tolerance, RISE: monitor.rise}
        fired = {name for name, detector in detectors.items() if detector.fired}
        if not fired:
            return False
        async with self.db.read() as connection:
            audited = await self.streams.audited(connection, monitor.route)
        before = audited[:-RECENT_LABELS]
        current = audited[-RECENT_LABELS:]
        content = {"reference": verdict_rows(before), "current": verdict_rows(current)}
        event = drift_detected(
            monitor,
            "errors",
            tuple(
                Statistic(
                    name=name,
                    value=detector.statistic,
                    threshold=detector.run_length,
                    fired=detector.fired,
                )
                for name, detector in detectors.items()
            ),
            reference_size=len(before),
            window_size=len(current),
            started_at=current[0].at if current else None,
            report=await self.reports.drift(content) if before else None,
            confirms=monitor.pending.drift_id if monitor.pending else None,
        )

        def change(now: Monitor) -> Monitor:
            return replace(
                now,
                error_drift_id=event.drift_id,
                pending=None,
                tolerance=now.tolerance.rearmed() if TOLERANCE in fired else now.tolerance,
                rise=now.rise.rearmed() if RISE in fired else now.rise,
            )

        await self.alarms.commit(monitor, change, event)
        return True

    async def batch(self, monitor: Monitor) -> bool:
        """Look whether the labels that an input alarm asked for bear it out.

        They are looked at four times, each time there are twice as many.
        """
        pending = monitor.pending
        if pending is None:
            return False
        since = max(monitor.began, pending.started - BEFORE_SECONDS)
        async with self.db.read() as connection:
            rows = await self.streams.judged(connection, monitor.route, pending.at, reason="drift")
            stale = time.time() - pending.at > PENDING_SECONDS
            if len(rows) < pending.look and not stale:
                return False
            earlier = await self.streams.judged(connection, monitor.route, since, pending.started)
        now, before = ([verdict for *_, verdict in each] for each in (rows, earlier))
        share, proven = rise(before, now, LOOK_LEVEL)
        event = None
        if proven:
            event = drift_detected(
                monitor,
                "errors",
                (
                    Statistic(
                        name="drift-batch-errors",
                        value=share,
                        threshold=worth(before)[0],
                        fired=True,
                    ),
                ),
                reference_size=len(before),
                window_size=len(now),
                started_at=pending.started,
                report=None,
                confirms=pending.drift_id,
            )
        done = proven or stale or pending.look >= LAST_LOOK
        next_look = None if done else replace(pending, look=2 * pending.look)

        def change(known: Monitor) -> Monitor:
            known = replace(known, pending=next_look)
            return replace(known, error_drift_id=event.drift_id) if event else known

        await self.alarms.commit(monitor, change, event)
        return True


def verdict_rows(audited: Sequence[AuditedVerdict]) -> list[JsonObject]:
    return [
        {"correct": "right" if verdict.right else "wrong", "confidence": verdict.score}
        for verdict in audited
    ]
