"""Which answers a human sees, and with which probability: one deterministic coin per inference.

An answer is audited when coin < audit_rate, and reviewed when coin < probability, which is at least
audit_rate. So the audited answers are a subset of the reviewed ones, every inclusion probability is
known, and an event that comes again decides the same (docs/methods.md, 4 sampling).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from schemas.route import ReviewRule

# Behind complaints and drift.
USUAL_RANK = 2
# One whose verdict was taken back is what its reviewer wants to see next.
UNDONE_RANK = -1


@dataclass(frozen=True)
class Sampling:
    """Whether a human sees an answer, and why: `sampled` is true with `probability`."""

    sampled: bool
    audit: bool
    probability: float
    reason: str


def coin(inference_id: str, salt: str) -> float:
    """Return a number uniform in [0, 1), always the same for an inference.

    It has 53 bits, because a quotient of 64-bit integers can round up to 1.0.
    """
    digest = blake2b(f"{salt}:{inference_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def second_look(inference_id: str, salt: str, rule: ReviewRule) -> bool:
    """Say whether two people decide an audited answer, by a coin that knows nothing else."""
    return coin(f"second look: {inference_id}", salt) < rule.overlap_rate


def charged(coin: float, rule: ReviewRule) -> bool:
    """Say whether a provisional answer costs a part of the day's budget: if it is reviewed for the
    sake of `rule.rate` alone. What is audited costs nothing.

    It hangs on the coin alone, not on drift or complaints, which may come in any order.
    """
    return rule.audit_rate <= coin < rule.rate


def sample(
    coin: float,
    rule: ReviewRule,
    *,
    unsure: bool = False,
    drift: bool = False,
    complaint: bool = False,
    spent: bool = False,
) -> Sampling:
    """Decide with `coin` whether a human sees an answer; the strongest reason sets the probability.

    `unsure`: no model was sure enough. `drift`: it is in a batch opened by drift. `complaint`: a
    user said that the answer is wrong. `spent`: it is provisional and the day's budget was used up
    before it came, so that nothing but the audit brings it to a reviewer.
    """
    audit = coin < rule.audit_rate
    reason, rate = _strongest(rule, unsure, drift, complaint)
    if spent and reason == "sampled":
        rate = 0.0
    probability = max(rule.audit_rate, rate)
    return Sampling(
        coin < probability, audit, probability, "audit" if audit and reason == "sampled" else reason
    )


def _strongest(rule: ReviewRule, unsure: bool, drift: bool, complaint: bool) -> tuple[str, float]:
    if complaint:
        return "feedback", 1.0
    if drift:
        return "drift", 1.0
    return ("unsure", rule.unsure_rate) if unsure else ("sampled", rule.rate)


def rank(sampling: Sampling) -> int:
    """Return the place in the queue: complaints first, then drift batches, then everything else.

    Not by confidence: audited answers that leave the queue in the order of their confidence are no
    uniform sample of anything, and neither is what is left. For the same reason a complaint does
    not move an audited answer ahead.
    """
    return {"feedback": USUAL_RANK if sampling.audit else 0, "drift": 1}.get(
        sampling.reason, USUAL_RANK
    )
