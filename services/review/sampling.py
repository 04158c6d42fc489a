"""Which answers a human sees, and with which probability: one deterministic coin per inference
(methods, section 0).

audit iff coin < audit_rate; reviewed iff coin < probability, and probability >= audit_rate. So the
audited answers are a subset of the reviewed ones, every inclusion probability is known, and a
redelivered event decides the same again.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from schemas.route import ReviewRule


@dataclass(frozen=True)
class Decision:
    sampled: bool
    audit: bool
    probability: float
    reason: str


def coin(inference_id: str, salt: str) -> float:
    """Uniform in [0, 1); 53 bits, because a quotient of 64-bit integers can round up to 1.0."""
    digest = blake2b(f"{salt}:{inference_id}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def decide(
    u: float,
    rule: ReviewRule,
    *,
    unsure: bool = False,
    drift: bool = False,
    complaint: bool = False,
) -> Decision:
    """`unsure`: the router gave up. `drift`: in a batch opened by drift. `complaint`: a user said
    the answer is wrong.
    """
    audit = u < rule.audit_rate
    reason, rate = _strongest(rule, unsure, drift, complaint)
    probability = max(rule.audit_rate, rate)
    return Decision(
        u < probability, audit, probability, "audit" if audit and reason == "sampled" else reason
    )


def _strongest(rule: ReviewRule, unsure: bool, drift: bool, complaint: bool) -> tuple[str, float]:
    if complaint:
        return "feedback", 1.0
    if drift:
        return "drift", 1.0
    return ("unsure", rule.unsure_rate) if unsure else ("sampled", rule.rate)


def rank(decision: Decision) -> int:
    """Complaints first, then drift batches, then everything else, first in first out.

    Not by confidence: audited answers that leave the queue in the order of their confidence are no
    uniform sample of anything, and neither is what is left. For the same reason a complaint does
    not move an audited answer ahead.
    """
    return {"feedback": 2 if decision.audit else 0, "drift": 1}.get(decision.reason, 2)


SKIPPED_RANK = 3  # a skipped item comes back after all others
