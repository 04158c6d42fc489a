"""What ends an attempt from outside: its time is up, or another tenant's turn has come."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import JobFailed, RatchetError
from shared.jobs.records import Job


@dataclass(frozen=True)
class Limit:
    """How long all attempts of one run may take together, and the setting that says so."""

    hours: float
    setting: str

    def left(self, job: Job) -> float:
        """Return the seconds that remain; waiting in the queue costs none."""
        return max(0.0, self.hours * 3600.0 - job.spent)


class TimeUp(JobFailed):
    def __init__(self, limit: Limit) -> None:
        super().__init__(
            f"it ran for {limit.hours:g} h in all, the most it may ({limit.setting}): make the work"
            " smaller or the limit larger, then 'ratchet jobs retry'"
        )


class TurnOver(RatchetError):
    """A run that can stop here and go on later gives way; it counts as no failure."""

    def __init__(self) -> None:
        super().__init__("paused at a checkpoint: it is another tenant's turn")
