"""Which adapter a request goes to, and when a challenger becomes champion or goes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from schemas.base import Arm
from schemas.events import AdapterEvaluated
from schemas.route import Quiet
from services.router.evidence import EVIDENCE, Against, Comparison, failure_evidence
from services.router.state import RouteState

# Callers that left before a challenger has answered anybody.
SILENCES = 3


@dataclass(frozen=True)
class Pick:
    """Which arm a request is given to."""

    arm: Arm
    adapter_id: str | None
    # The champion that should have answered but is not loaded.
    waiting_for: str | None = None


BASE = Pick("base", None)


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
        return BASE
    if serving(state.champion.adapter_id):
        return Pick("champion", state.champion.adapter_id)
    return Pick("base", None, waiting_for=state.champion.adapter_id)


Move = Literal["wait", "promote", "retract"]


class Verdict(NamedTuple):
    """What becomes of a canary, and why."""

    move: Move
    because: str = ""


class Seen(NamedTuple):
    """What a canary has shown so far."""

    # Requests that it answered or failed, and of those the failed and the malformed ones.
    asked: int
    failed: int
    # Seconds since it began.
    elapsed: float
    # Requests without an answer yet, and those whose callers left before it.
    waiting: int = 0
    left: int = 0
    compared: Against = Against()

    @property
    def is_bad(self) -> bool:
        """Say whether half of what it was given, or more, failed or broke the format."""
        return 0 < self.asked <= 2 * self.failed

    @property
    def evidence(self) -> dict[str, float]:
        """Return what the move is founded on, for its event."""
        return {
            "asked": self.asked,
            "failed": self.failed,
            "seconds": round(self.elapsed, 3),
            "against_failures": failure_evidence(self.asked, self.failed),
            **self.compared.facts,
        }


@dataclass(frozen=True)
class CanaryRule:
    """A canary gets `share` of the sessions, and at least `requests` answers and `seconds`."""

    share: float
    requests: int
    seconds: float

    def verdict(self, seen: Seen, quiet: Quiet) -> Verdict:
        """Judge a canary by what it has shown.

        Evidence against it counts at once. It passes with enough answers in form, whether or not
        reviewers have come to any; with fewer only where the route wants that.
        """
        if why := objection(seen):
            return Verdict("retract", why)
        waiting = seen.asked == 0 and (seen.waiting or seen.left)
        if seen.elapsed < self.seconds or waiting:
            return Verdict("wait")
        if seen.is_bad:
            return self._of_bad(seen)
        if seen.asked < self.requests and quiet == "wait":
            return Verdict("wait")
        return Verdict("promote", self._grounds(seen))

    def _of_bad(self, seen: Seen) -> Verdict:
        """Never promote it; whether it goes, the next answers show."""
        if seen.asked < self.requests or seen.failed < seen.asked:
            return Verdict("wait")
        return Verdict("retract", f"it answered none of {seen.asked} canary requests in form")

    def _grounds(self, seen: Seen) -> str:
        if seen.asked == 0:
            given = f"no request was given to it in {seen.elapsed:.0f} s"
            return f"{given}: on the gate's evidence alone"
        told = f"{seen.asked} canary answers in {seen.elapsed:.0f} s, {seen.failed} failed"
        if seen.compared.ordered.pairs:
            return f"{told}; {said(seen.compared.ordered)}"
        if seen.asked < self.requests:
            told += f" (the route does not wait for {self.requests})"
        return f"{told}; on the gate's evidence, none of them was audited yet"


def objection(seen: Seen) -> str | None:
    """Return what proves that a challenger is bad, at any time."""
    if failure_evidence(seen.asked, seen.failed) >= EVIDENCE:
        return f"{seen.failed} of {seen.asked} canary answers failed or broke the format"
    if proof := seen.compared.proof(EVIDENCE):
        return f"it is wrong more often than what it is to replace: {said(proof)}"
    if seen.asked == 0 and seen.left >= SILENCES:
        return f"{seen.left} callers left before it answered, and it answered nobody"
    return None


def said(compared: Comparison) -> str:
    return (
        f"of {compared.pairs} audited pairs it alone was right in {compared.wins} and the other"
        f" alone in {compared.losses}"
    )


Admission = Literal[
    "canary", "rejected", "foreign", "served before", "compared with another champion", "frozen"
]


def admit(event: AdapterEvaluated, state: RouteState, served_before: bool, at: float) -> Admission:
    """Decide whether an evaluated adapter may challenge, at a time in seconds since the epoch.

    An adapter gets one canary ever, and only against the champion that it was proven to beat; none
    gets one while a rollback is fresh.
    """
    tenant, _, name = state.route.partition("/")
    if not event.adapter.adapter_id.startswith(f"{tenant}--{name}@"):
        return "foreign"
    if event.verdict != "promote":
        return "rejected"
    if served_before:
        return "served before"
    if state.is_frozen(at):
        return "frozen"
    beaten = next((arm for arm in event.arms if arm.arm == "champion"), None)
    if state.champion and (
        beaten is None or beaten.adapter_id not in (None, state.champion.adapter_id)
    ):
        return "compared with another champion"
    return "canary"
