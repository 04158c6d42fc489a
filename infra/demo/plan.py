"""How many messages each step of the story sends, and the rules of the route that follow from it.

With 664 everyday messages and 346 late ones the story is told at full length. With fewer it is
told shorter; where too few are left for act 2, act 1 alone is told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import ceil, sqrt

# Requests before anything is trained: at least so many in all, and for each label or extraction.
BASELINE = 370
BASELINE_PER_LABEL = 20
BASELINE_OF_EXTRACTION = 480
# Requests with each new version.
AFTER = 90
# Requests between two looks for drift, and how often that goes on.
CHUNK = 30
MAX_CHUNKS = 6
# How often it goes on with messages that were sent before: by 6 chunks some 54 answers were
# audited, two blocks of the error monitor, of which the first has few new requests.
CHUNKS_AGAIN = 8
# Requests after the late labels were added: at least so many, and for each late label.
MORE_LATE = 200
MORE_PER_LATE_LABEL = 20
# Requests after the gate refused an adapter.
CORRECTIONS = 90
# Kept back for a canary, which goes on until it has seen enough; beyond it messages come again.
CANARY = 40
# Of the traffic after the new kinds of requests appeared, and while they are being learned: the new
# product is in the news.
LATE_SHARE = 0.6
MORE_LATE_SHARE = 0.8
# Of the answers before the first version, never trained on; more where few are left to judge by: on
# fewer than 45 the gate tests nothing, and of 60 that are expected so few come once in 50 times.
AUDIT_RATE = 0.2
MOST_AUDITED = 0.5
JUDGED_ON = 60
# The windows of drift at full length (docs/methods.md, section 5), and the least a route allows.
REFERENCE = 80
LEAST_REFERENCE = 30
WINDOW = 40
LEAST_WINDOW = 20
# Act 2 shorter than this share of its length has too few late messages to measure anything.
SHORTEST_ACT_TWO = 0.4
# Act 1 with fewer messages has too few to be judged by, or to learn from.
LEAST_ROWS = 150
LEAST_PER_LABEL = 10
LEAST_LABELS_OF_ACT_TWO = 3
# Standard deviations between what is expected and what the route waits for.
MARGIN = 3.5


@dataclass(frozen=True)
class Plan:
    """The numbers of one story."""

    baseline: int = BASELINE
    after: int = AFTER
    corrections: int = CORRECTIONS
    chunk: int = CHUNK
    more_late: int = MORE_LATE
    reference: int = REFERENCE
    window: int = WINDOW
    audit_rate: float = AUDIT_RATE
    minimum_per_label: int = 10
    # Why act 2 is not told; None where it is.
    without_act_two: str | None = None

    @property
    def patience(self) -> float:
        """Return how much longer the steps of the system may take than at full length."""
        return max(1.0, self.baseline / BASELINE, self.more_late / MORE_LATE)

    @property
    def verdicts(self) -> int:
        """Return the verdicts that order the first dataset: sure to come from the baseline."""
        return surely(self.baseline, 1 - self.audit_rate)

    @property
    def verdicts_after_drift(self) -> int:
        return surely(self.more_late, 1 - self.audit_rate)

    def words(self) -> list[str]:
        """Say what will be sent."""
        judging = round(self.baseline * self.audit_rate)
        act_one = (
            f"act 1: {self.baseline} messages to the base model, of which about"
            f" {self.baseline - judging} are corrected to train on and about {judging} to judge by"
            f" (a version is trained at {self.verdicts}); then {self.after} to measure version 1"
        )
        act_two = (
            f"act 2: up to {MAX_CHUNKS * self.chunk} messages until drift is detected (then they"
            " come again),"
            f" {self.more_late} to learn the late labels from, {self.after} to measure version 2"
        )
        if self.without_act_two:
            act_two = f"act 2 is left out: {self.without_act_two}"
        return [act_one, act_two]


def surely(n: int, rate: float) -> int:
    """Return how many of `n` are drawn at `rate` in all but one of some thousand cases."""
    return max(1, int(n * rate - MARGIN * sqrt(n * rate * (1 - rate))))


def plan_act_one(rows: int, labels: Counter[str], why: str) -> Plan:
    """Plan a story without act 2; `labels` is empty for an extraction."""
    wanted = max(BASELINE, BASELINE_PER_LABEL * len(labels)) if labels else BASELINE_OF_EXTRACTION
    share = min(1.0, rows / (wanted + AFTER + CANARY))
    after = max(LEAST_REFERENCE, int(AFTER * share))
    baseline = min(wanted, rows - after - min(CANARY, rows // 15))
    plan = Plan(
        baseline=baseline,
        after=after,
        corrections=max(LEAST_REFERENCE, int(CORRECTIONS * share)),
        audit_rate=audit_rate(baseline),
        without_act_two=why,
    )
    return replace(plan, minimum_per_label=minimum(baseline * (1 - plan.audit_rate), labels))


def plan_both_acts(everyday: Counter[str], late: Counter[str]) -> Plan | None:
    """Plan both acts; None where the rows are too few for act 2."""
    baseline = max(BASELINE, BASELINE_PER_LABEL * len(everyday))
    more = max(MORE_LATE, ceil(MORE_PER_LATE_LABEL * len(late) / MORE_LATE_SHARE))
    other = 1 - LATE_SHARE
    everyday_rest = (
        AFTER
        + CANARY
        + other * (MAX_CHUNKS * CHUNK + AFTER + CANARY)
        + (1 - MORE_LATE_SHARE) * more
    )
    late_needed = LATE_SHARE * (MAX_CHUNKS * CHUNK + AFTER + CANARY) + MORE_LATE_SHARE * more
    share = min(
        1.0,
        everyday.total() / (baseline + everyday_rest),
        late.total() / late_needed,
    )
    if share < SHORTEST_ACT_TWO:
        return None
    baseline = min(baseline, int(everyday.total() - share * everyday_rest))
    reference = max(LEAST_REFERENCE, round(REFERENCE * share))
    rate = audit_rate(baseline)
    more = int(more * share)
    return Plan(
        baseline=baseline,
        after=max(reference + 6, int(AFTER * share)),
        corrections=int(CORRECTIONS * share),
        chunk=max(12, int(CHUNK * share)),
        more_late=more,
        reference=reference,
        window=max(LEAST_WINDOW, round(WINDOW * share)),
        audit_rate=rate,
        minimum_per_label=min(
            minimum(baseline * (1 - rate), everyday),
            minimum(more * MORE_LATE_SHARE * (1 - rate), late),
        ),
    )


def audit_rate(baseline: int) -> float:
    """Return the share that is audited, so that enough rows judge the first version."""
    return round(min(MOST_AUDITED, max(AUDIT_RATE, JUDGED_ON / baseline)), 2)


def minimum(rows: float, labels: Counter[str]) -> int:
    """Return a minimum for each label that a third of the rows of the rarest one would meet: some
    are repeats, and some resemble what is judged by.
    """
    rarest = min(labels.values()) / labels.total() if labels else 1.0
    return max(1, min(10, int(rows * rarest / 3)))
