"""Has the input changed? Takes one window after the other, and lets the reference grow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from schemas.base import JsonObject
from schemas.monitoring import Statistic
from services.evaluator.alarms import Alarms, drift_detected
from services.evaluator.drift import OF_LAST, compare, sustained
from services.evaluator.matching import matched, slot_of
from services.evaluator.monitor import Monitor, Pending
from services.evaluator.observed import NO_ADAPTER, Observation, StoredObservation, as_sample
from services.evaluator.ports import Reports
from services.evaluator.rises import FIRST_LOOK
from services.evaluator.store.streams import StreamStore
from shared.storage import Database


@dataclass(frozen=True)
class Windows:
    db: Database
    streams: StreamStore
    reports: Reports
    alarms: Alarms

    async def next(self, monitor: Monitor) -> bool:
        """Compare the next window; return False when it is not complete yet."""
        mine = (monitor.route, monitor.adapter_id or NO_ADAPTER)
        async with self.db.read() as connection:
            cursor = monitor.cursor
            if not cursor:
                first = await self.streams.after(
                    connection, *mine, monitor.since, monitor.reference
                )
                if len(first) < monitor.reference:
                    return False
                cursor = first[-1].seq
            window = await self.streams.after(connection, *mine, cursor, monitor.window)
            if len(window) < monitor.window:
                return False
            places = await self.streams.places(connection, *mine, monitor.since, cursor)
            found = matched(
                [slot_of(at) for _, at in places],
                [slot_of(seen.at) for seen in window],
                monitor.reference,
                seed=cursor,
            )
            reference = await self.streams.these(
                connection, [places[place][0] for place in (found[0] if found else [])]
            )
        if found is None:
            await self._grow(monitor, places, window)
            return True
        compared = [window[place] for place in found[1]]
        statistics = await asyncio.to_thread(
            compare, as_sample(reference), as_sample(compared), monitor.windows
        )
        await self._settle(monitor, places, reference, compared, window, statistics)
        return True

    async def _grow(
        self,
        monitor: Monitor,
        places: Sequence[tuple[int, float]],
        window: Sequence[StoredObservation],
    ) -> None:
        """Go on behind the older half of a window whose hours the reference does not know: it
        becomes the reference for them.
        """
        older = window[: max(monitor.window // 2, 1)]

        def change(now: Monitor) -> Monitor:
            return replace(now, cursor=older[-1].seq, unmatched=now.unmatched + 1)

        beyond = surplus(places, as_places(older), monitor.reference)
        await self.alarms.commit(monitor, change, None, beyond)

    async def _settle(
        self,
        monitor: Monitor,
        places: Sequence[tuple[int, float]],
        reference: Sequence[StoredObservation],
        compared: Sequence[StoredObservation],
        window: Sequence[StoredObservation],
        statistics: tuple[Statistic, ...],
    ) -> None:
        """Store what a window showed, and raise the alarm where it is due.

        Windows overlap by half, so that a change is soon seen whole. The older half of one that
        shows nothing belongs to the reference from now on, as far as its hours have room. An alarm
        says that the old normal is over: what comes after it is the new one.
        """
        older = window[: max(monitor.window // 2, 1)]
        fired = any(statistic.fired for statistic in statistics)
        recent = (*monitor.recent, fired)[-OF_LAST:]
        changes: dict[str, Any] = {
            "cursor": older[-1].seq,
            "windows": monitor.windows + 1,
            "unmatched": 0,
            "recent": recent,
            "statistics": statistics,
        }
        forget = [seen.seq for seen in older]
        if not fired:
            forget = surplus(places, as_places(older), monitor.reference)
        event = None
        # As long as the last batch of labels is awaited, another one would only start it over.
        if sustained(recent) and monitor.pending is None:
            content = {"reference": as_rows(reference), "current": as_rows(compared)}
            event = drift_detected(
                monitor,
                "input",
                statistics,
                reference_size=len(reference),
                window_size=len(compared),
                started_at=window[0].at,
                report=await self.reports.drift(content),
            )
            pending = Pending(
                event.drift_id, event.occurred_at.timestamp(), window[0].at, FIRST_LOOK
            )
            changes |= {"input_drift_id": event.drift_id, "pending": pending}
            changes |= {"since": window[-1].seq, "cursor": 0, "recent": ()}
            forget = [*(seq for seq, _ in places), *(seen.seq for seen in window)]
        await self.alarms.commit(monitor, lambda now: replace(now, **changes), event, forget)


def surplus(
    places: Sequence[tuple[int, float]], older: Sequence[tuple[int, float]], most: int
) -> list[int]:
    """Return which observations the reference has no room for: it keeps `most` of an hour."""
    held = Counter(slot_of(at) for _, at in places)
    beyond = []
    for seq, at in older:
        slot = slot_of(at)
        if held[slot] >= most:
            beyond.append(seq)
        held[slot] += 1
    return beyond


def as_places(observations: Sequence[StoredObservation]) -> list[tuple[int, float]]:
    return [(seen.seq, seen.at) for seen in observations]


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
