"""Whether the certificates of the demo's route kept their word, by truth that none of them saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from infra.demo.traffic import AnsweredMessage

# Two-sided level of the intervals. A certificate may be broken in one of ten routes; the demo fails
# only where it is proven to be.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Kept:
    """Of the answers that one arm was trusted with under a certificate, how many were wrong."""

    arm: str
    wrong: int
    trusted: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the exact interval of the error rate (Clopper, Pearson 1934)."""
        found = binomtest(self.wrong, self.trusted).proportion_ci(CONFIDENCE, method="exact")
        return float(found.low), float(found.high)

    def breaks(self, max_risk: float) -> bool:
        """Say whether the answers prove that more are wrong than is tolerated."""
        return self.interval[0] > max_risk

    def __str__(self) -> str:
        low, high = self.interval
        rate = f"{self.wrong / self.trusted:.0%}, {low:.0%} to {high:.0%}"
        return f"{self.arm} {self.wrong} of {self.trusted} wrong ({rate})"


def arm_of(answered: AnsweredMessage) -> str:
    """Return who answered: each has a certificate of its own."""
    if answered.arm != "base":
        return "the adapter"
    return "the base model behind it" if answered.outcome == "fell_back" else "the base model"


def kept_by(answered: Sequence[AnsweredMessage]) -> list[Kept]:
    """Count what was trusted under a certificate, by arm; arms without any are left out."""
    trusted = [one for one in answered if one.certified and one.outcome != "unsure"]
    arms = sorted({arm_of(one) for one in trusted})
    marks = {arm: [one.correct for one in trusted if arm_of(one) == arm] for arm in arms}
    return [Kept(arm, right.count(False), len(right)) for arm, right in marks.items()]


def told(kept: Sequence[Kept], max_risk: float, sent_to_people: Sequence[AnsweredMessage]) -> str:
    """Say in a line how often trusted answers were wrong, and how often those that were not."""
    words = [f"at most {max_risk:.0%} wrong of what is trusted: " + "; ".join(map(str, kept))]
    if not kept:
        words = ["no answer was trusted under a certificate"]
    if sent_to_people:
        wrong = [one.correct for one in sent_to_people].count(False)
        words.append(f"not trusted, and sent to people: {wrong} of {len(sent_to_people)} wrong")
    return "; ".join(words)
