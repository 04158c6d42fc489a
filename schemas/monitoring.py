"""What is said while a route is watched: the tests of a monitor, and retraining that waits."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import Event, Value

Brake = Literal["cooldown", "weekly-budget"]


class Statistic(Value):
    """One test of a monitor: its statistic against its threshold, at a stated level."""

    name: str
    value: float
    threshold: float
    p_value: float | None = None
    fired: bool


class RetrainHeld(Event):
    """A dataset is due, and the route's own rule has it wait. Said by dataset-builder, once for
    each wait.
    """

    brake: Brake
    because: str = Field(description="what made the dataset due")
    until: AwareDatetime = Field(description="when it is built, unless a person orders it before")
    drift_id: str | None = None
