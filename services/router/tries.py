"""Which of the models that were asked answers the app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.base import Attempt
from schemas.route import Guarantee
from services.router.answers import Outcome
from services.router.confidence import is_confident, lacks_certificate
from shared.rules import Completion


@dataclass(frozen=True)
class Try:
    """One model that was asked: the attempt as it is recorded, and what the model gave."""

    attempt: Attempt
    completion: Completion
    # Whether the answer has the form of the route's: what has not is trusted at no probability.
    formed: bool = True
    guarantee: Guarantee = "best-effort"

    @property
    def trusted(self) -> bool:
        return self.formed and is_confident(self.attempt.confidence, self.guarantee)

    def is_provisional(self, max_risk: float) -> bool:
        """Say whether a strict route would trust this answer if its threshold were certified."""
        strict = self.guarantee == "strict" and self.formed and not self.trusted
        return strict and lacks_certificate(self.attempt.confidence, max_risk)


def choose(tries: Sequence[Try], fallback: bool) -> tuple[Try, Outcome]:
    """Choose the try to answer with, out of at least one.

    `fallback` says that the last one is the base model standing in for an adapter.
    """
    last = tries[-1]
    if last.trusted:
        return last, "fell_back" if fallback else "confident"
    # Of equals max takes the first: the adapter, which was asked before the base model.
    return max(tries, key=belief), "unsure"


def belief(one: Try) -> float:
    """Return P(correct); 0 while the arm is not calibrated, and less where the form is broken."""
    confidence = one.attempt.confidence
    return ((confidence.p_correct if confidence else None) or 0.0) if one.formed else -1.0
