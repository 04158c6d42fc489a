"""Live accuracy for Prometheus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import Gauge

from services.evaluator.store.answered import AnsweredStore, LiveAccuracy
from services.evaluator.store.monitors import MonitorStore
from shared.describing import describe
from shared.storage import Database
from shared.telemetry import log

EVERY_SECONDS = 60.0
ACCURACY = Gauge(
    "ratchet_live_accuracy",
    "Share of right answers lately, with the ends of its interval of 95 %",
    ["route", "arm", "figure"],
)
VERDICTS = Gauge(
    "ratchet_live_accuracy_verdicts", "Verdicts behind the live accuracy", ["route", "arm"]
)


@dataclass(frozen=True)
class Gauges:
    db: Database
    monitors: MonitorStore
    answered: AnsweredStore

    async def run(self) -> None:
        """Run until cancelled; what goes wrong once is tried again."""
        while True:
            try:
                show(await self.read())
            # It must outlive a locked database.
            except Exception as error:  # noqa: BLE001
                log("gauges").error("gauge trouble", error=describe(error))
            await asyncio.sleep(EVERY_SECONDS)

    async def read(self) -> list[LiveAccuracy]:
        """Return the accuracy of each route: of all it answers, of the base model, of the
        champion.
        """
        async with self.db.read() as connection:
            serving = {
                monitor.route: monitor.adapter_id for monitor in await self.monitors.all(connection)
            }
            found = [
                one
                for route in await self.answered.routes(connection)
                for one in await self.answered.accuracy(connection, route, time.time())
            ]
        return [
            one
            for one in found
            if one.adapter_id is None
            or (one.arm == "champion" and one.adapter_id == serving.get(one.route))
        ]


def show(known: Sequence[LiveAccuracy]) -> None:
    """Set the gauges; what is not known any more disappears."""
    ACCURACY.clear()
    VERDICTS.clear()
    for one in known:
        VERDICTS.labels(one.route, one.arm).set(one.verdicts)
        if one.estimate is None:
            continue
        figures = {
            "estimate": one.estimate.accuracy,
            "low": one.estimate.low,
            "high": one.estimate.high,
        }
        for figure, value in figures.items():
            ACCURACY.labels(one.route, one.arm, figure).set(value)
