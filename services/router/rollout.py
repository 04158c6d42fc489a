"""Which adapter a request goes to, and when a challenger becomes champion or goes. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from schemas.base import Arm
from schemas.events import AdapterEvaluated
from services.router.state import RouteState

TOLERATED = 0.05  # share of failed or malformed answers that is nobody's fault
SUSPECTS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)  # failure rates the guard is meant to find
# an e-value of 20: a false retraction in at most 1 of 20 canaries, however often we look (methods,
# section 6)
EVIDENCE = 20.0


@dataclass(frozen=True)
class Pick:
    arm: Arm
    adapter_id: str | None
    waiting_for: str | None = None  # the champion that should have answered but is not loaded


def position(route: str, adapter_id: str, session: str) -> float:
    """Where a session stands in [0, 1): the same for every request of it, and shuffled anew for
    every adapter.
    """
    digest = hashlib.sha256(f"{route}\0{adapter_id}\0{session}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def pick(state: RouteState, session: str, serving: Callable[[str], bool]) -> Pick:
    """Only adapters that are proven to be loaded get traffic; without one the base model
    answers.
    """
    challenger = state.challenger
    if (
        challenger
        and serving(name := challenger.adapter.adapter_id)
        and position(state.route, name, session) < challenger.share
    ):
        return Pick("challenger", name)
    if state.champion is None:
        return Pick("base", None)
    if serving(state.champion.adapter_id):
        return Pick("champion", state.champion.adapter_id)
    return Pick("base", None, waiting_for=state.champion.adapter_id)


def failure_evidence(answered: int, failed: int) -> float:
    """E-value against "it fails in at most TOLERATED of its answers"; may be looked at after every
    answer.
    """
    logs = [
        failed * math.log(rate / TOLERATED)
        + (answered - failed) * math.log((1 - rate) / (1 - TOLERATED))
        for rate in SUSPECTS
    ]
    return sum(math.exp(min(value, 700.0)) for value in logs) / len(SUSPECTS)


@dataclass(frozen=True)
class CanaryRule:
    share: float
    requests: int
    seconds: float

    def verdict(
        self, answered: int, failed: int, elapsed: float
    ) -> tuple[Literal["wait", "promote", "retract"], str]:
        if failure_evidence(answered, failed) >= EVIDENCE:
            return "retract", f"{failed} of {answered} canary answers failed or broke the format"
        if answered >= self.requests:
            return "promote", f"{answered} canary answers, {failed} failed"
        if elapsed >= self.seconds:
            return "promote", f"{answered} canary answers in {elapsed:.0f} s, {failed} failed"
        return "wait", ""


Entry = Literal["canary", "rejected", "foreign", "served before", "compared with another champion"]


def entry(event: AdapterEvaluated, state: RouteState, served_before: bool) -> Entry:
    """Whether an evaluated adapter may challenge. It gets one canary in its life, and only against
    whom it was proven better.
    """
    tenant, _, name = state.route.partition("/")
    if not event.adapter.adapter_id.startswith(f"{tenant}--{name}@"):
        return "foreign"
    if event.verdict != "promote":
        return "rejected"
    if served_before:
        return "served before"
    beaten = next((arm for arm in event.arms if arm.arm == "champion"), None)
    if state.champion and (
        beaten is None or beaten.adapter_id not in (None, state.champion.adapter_id)
    ):
        return "compared with another champion"
    return "canary"
