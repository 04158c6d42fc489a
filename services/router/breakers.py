"""Models that are not asked for a while, because they did not answer: nobody waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Questions in a row without an answer.
FAILURES = 3
# Seconds that a model is left alone; then one question tries it.
REST_SECONDS = 10.0


@dataclass
class Breakers:
    """A circuit breaker for each model on each route.

    On a route of its own: what one route's prompt makes of the base model says nothing about
    another's.
    """

    clock: Callable[[], float] = time.monotonic
    _failures: dict[tuple[str, str], int] = field(default_factory=dict)
    _rests_until: dict[tuple[str, str], float] = field(default_factory=dict)

    def lets(self, route: str, model: str) -> bool:
        """Say whether a model may be asked. After a rest one question may; the others wait for what
        becomes of it.
        """
        until = self._rests_until.get((route, model))
        if until is None:
            return True
        if self.clock() < until:
            return False
        self._rests_until[route, model] = self.clock() + REST_SECONDS
        return True

    def rests(self, route: str, model: str) -> bool:
        """Say whether a model failed and was not found well since; unlike `lets` it changes
        nothing.
        """
        return (route, model) in self._rests_until

    def failed(self, route: str, model: str) -> None:
        key = route, model
        self._failures[key] = self._failures.get(key, 0) + 1
        if self._failures[key] >= FAILURES:
            self._rests_until[key] = self.clock() + REST_SECONDS

    def answered(self, route: str, model: str) -> None:
        if self._failures:
            self._failures.pop((route, model), None)
            self._rests_until.pop((route, model), None)

    def resting(self) -> list[str]:
        """Return `route: model` of each that is left alone now."""
        now = self.clock()
        return sorted(
            f"{route}: {model}" for (route, model), at in self._rests_until.items() if at > now
        )
