"""What is reported of each system, and how it is written down."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.capture.load import Outcome


@dataclass
class Figures:
    """None: this system was not asked that. Rates are inferences a second, times milliseconds."""

    system: str
    note: str = ""
    inferences: int = 0
    answered_per_s: float | None = None  # until the last request was answered
    stored_per_s: float | None = (
        None  # until the last event was where it belongs: acknowledged by the broker, or a row
    )
    cpu_s_per_1000: float | None = (
        None  # of the server's process, until the last event was where it belongs
    )
    per_cpu_s: float | None = None
    cpu_s_per_1000_of_http: float | None = None  # the same in turns over capture's other door
    p50_ms: float | None = None
    p99_ms: float | None = None
    slowest_ms: float | None = None
    memory_mb: float | None = None
    load_before: float | None = None  # of the machine, one minute's average
    generator_busy: float | None = (
        None  # share of its core that the load generator used in the batch run
    )
    generator_late_p99_ms: float | None = None  # how late it was itself in the open loop
    statuses: dict[str, int] | None = None
    single_statuses: dict[str, int] | None = None

    def rates(self, count: int, outcome: Outcome, seconds: float, cpu_seconds: float) -> None:
        self.inferences = count
        self.answered_per_s = count / outcome.seconds
        self.stored_per_s = count / seconds
        self.cpu_s_per_1000 = cpu_seconds * 1000 / count
        self.per_cpu_s = count / cpu_seconds
        self.generator_busy = outcome.cpu_seconds / outcome.seconds
        self.statuses = named(outcome.statuses)

    def latency(self, outcome: Outcome) -> None:
        self.p50_ms = outcome.percentile(0.5) * 1000
        self.p99_ms = outcome.percentile(0.99) * 1000
        self.slowest_ms = max(outcome.latencies) * 1000
        self.generator_late_p99_ms = (
            sorted(outcome.late)[int(0.99 * len(outcome.late))] * 1000 if outcome.late else None
        )
        self.single_statuses = named(outcome.statuses)

    def as_json(self) -> dict[str, Any]:
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def named(statuses: dict[int, int]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(statuses.items())}
