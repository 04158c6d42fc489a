"""What a promise is, and whether simulated runs bear it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binomtest

# Two-sided level of the intervals that are printed, and of the verdicts that follow from them.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """In how many of `runs` simulated runs something happened, in a world that has a name."""

    world: str
    hits: int
    runs: int

    @property
    def rate(self) -> float:
        return self.hits / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Return the exact interval of the rate (Clopper, Pearson 1934)."""
        found = binomtest(self.hits, self.runs).proportion_ci(CONFIDENCE, method="exact")
        return float(found.low), float(found.high)


Simulate = Callable[[int, np.random.Generator], Sequence[Measured]]
"""Simulates so many runs of each world, and returns what was measured."""


@dataclass(frozen=True)
class Promise:
    """A sentence of the docs with a level, the worlds it is tried in, and a rule that breaks it.

    `side` says whether what is counted must stay under the level or reach it. In every world of
    `control` the rule that is not used must be seen to break the promise; otherwise the simulation
    could not tell a promise from none.
    """

    name: str
    statement: str
    level: float
    side: Literal["at most", "at least"]
    simulate: Simulate
    control: Simulate
    # The rule that the control follows.
    instead: str
    # Runs of the short form, in which the control must already fail, and of the long one.
    short: int = 200
    long: int = 1000

    def holds(self, measured: Measured) -> bool:
        """Say whether the runs are compatible with the promise."""
        low, high = measured.interval
        return low <= self.level if self.side == "at most" else high >= self.level

    def breaks(self, measured: Measured) -> bool:
        """Say whether the runs prove that the promise is broken."""
        return not self.holds(measured)
