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

# Share of failed or malformed answers that is nobody's fault.
TOLERATED = 0.05
# Failure rates that the guard is meant to find.
SUSPECTS = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
# An e-value of 20 retracts at most 1 of 20 good canaries, however often one looks (Ville's
# inequality; docs/methods.md, section 6).
EVIDENCE = 20.0
# Callers that left before a challenger has answered anybody.
SILENCES = 3


@dataclass(frozen=True)
class Pick:
    """Which arm a request is given to."""

    arm: Arm
    adapter_id: str | None
    # The champion that should have answered but is not loaded.
    waiting_for: str | None = None


def position(route: str, adapter_id: str, session: str) -> float:
    """Return where a session stands in [0, 1).

    It is the same for all requests of a session, and every adapter shuffles the sessions anew.
    """
    digest = hashlib.sha256(f"{route}\0{adapter_id}\0{session}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def pick_arm(state: RouteState, session: str, serving: Callable[[str], bool]) -> Pick:
    """Pick the arm of a request; `serving` says which adapters are proven to be loaded.

    Only those get traffic; without one the base model answers.
    """
    challenger = state.challenger
    if challenger:
        name = challenger.adapter.adapter_id
        if position(state.route, name, session) < challenger.share and serving(name):
            return Pick("challenger", name)
    if state.champion is None:
        return Pick("base", None)
    if serving(state.champion.adapter_id):
        return Pick("champion", state.champion.adapter_id)
    return Pick("base", None, waiting_for=state.champion.adapter_id)


def failure_evidence(answered: int, failed: int) -> float:
    """Return the e-value against "it fails in at most TOLERATED of its answers".

    It is the mean of the likelihood ratios of SUSPECTS, and may be looked at after every answer.
    """
    logs = [
        failed * math.log(rate / TOLERATED)
        + (answered - failed) * math.log((1 - rate) / (1 - TOLERATED))
        for rate in SUSPECTS
    ]
    return sum(math.exp(min(value, 700.0)) for value in logs) / len(SUSPECTS)


Verdict = tuple[Literal["wait", "promote", "retract"], str]
"""What becomes of a canary, and why."""


@dataclass(frozen=True)
class CanaryRule:
    """A canary gets `share` of the sessions and ends after `requests` answers or `seconds`."""

    share: float
    requests: int
    seconds: float

    def verdict(
        self, asked: int, failed: int, elapsed: float, *, waiting: int = 0, left: int = 0
    ) -> Verdict:
        """Judge a canary by the requests it was given: `failed` of them it did not answer, or not
        in form. `waiting` more have no answer yet, and of `left` the callers left before it.
        """
        if failure_evidence(asked, failed) >= EVIDENCE:
            return "retract", f"{failed} of {asked} canary answers failed or broke the format"
        if asked < self.requests and elapsed < self.seconds:
            return "wait", ""
        if asked == 0:
            return of_silence(elapsed, waiting, left)
        if failed == asked:
            return "retract", f"it answered none of {asked} canary requests in form"
        return "promote", f"{asked} canary answers in {elapsed:.0f} s, {failed} failed"


def of_silence(elapsed: float, waiting: int, left: int) -> Verdict:
    """Judge a challenger that has answered nobody."""
    if left >= SILENCES:
        return "retract", f"{left} callers left before it answered, and it answered nobody"
    if waiting or left:
        return "wait", ""
    return "promote", f"no request was given to it in {elapsed:.0f} s: on the gate's evidence alone"


Admission = Literal[
    "canary", "rejected", "foreign", "served before", "compared with another champion"
]


def admit(event: AdapterEvaluated, state: RouteState, served_before: bool) -> Admission:
    """Decide whether an evaluated adapter may challenge.

    An adapter gets one canary ever, and only against the champion that it was proven to beat.
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
