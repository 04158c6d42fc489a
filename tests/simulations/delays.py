"""How long the error monitors take: python -m tests.simulations.delays

Prints the figures of docs/methods.md, section 5b, that are no shares: labels to a false alarm, and
labels until a rise is found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from tests.simulations.error_monitors import (
    FIRST_LABELS,
    SPELL,
    Integers,
    Rule,
    by_single_labels,
    labels,
    over_the_bar,
    over_the_first,
)

STREAMS = 200
# A stream without a false alarm counts as one that has it at the end.
LONG = 30_000
SEED = 13
TOLERATED = 0.2


def main() -> None:
    console = Console()
    for line in (*false_alarms(), *found()):
        console.print(line, highlight=False, soft_wrap=True)


def false_alarms() -> list[str]:
    """Say how many labels pass on average before an alarm that is not due."""
    rng = np.random.default_rng(SEED)
    lines = []
    for spell in (1, SPELL):
        wrong = labels(LONG, STREAMS, TOLERATED, rng, spell)
        for name, rule in (
            ("single labels", by_single_labels),
            ("blocks", over_the_bar),
            ("blocks, worse than it was", over_the_first),
        ):
            after = np.minimum(rule(wrong, TOLERATED), LONG)
            lines.append(
                f"{name}: {after.mean():,.0f} labels to a false alarm, {TOLERATED:.0%} wrong in"
                f" spells of {spell}"
            )
    return lines


def found() -> list[str]:
    """Say after how many labels half of the streams have the alarm that is due."""
    rng = np.random.default_rng(SEED)
    cases: Sequence[tuple[str, Rule, float, float]] = (
        ("single labels", by_single_labels, 0.1, 0.2),
        ("single labels", by_single_labels, 0.1, 0.3),
        ("blocks", over_the_bar, 0.1, 0.3),
        ("worse than it was", over_the_first, 0.1, 0.2),
        ("worse than it was", over_the_first, 0.05, 0.1),
        ("worse than it was", over_the_first, 0.2, 0.4),
    )
    return [
        f"{name}: median of {median_delay(rule, before, after, rng):,.0f} labels from {before:.0%}"
        f" to {after:.0%} wrong"
        for name, rule, before, after in cases
    ]


def median_delay(rule: Rule, before: float, after: float, rng: np.random.Generator) -> float:
    early = labels(FIRST_LABELS, STREAMS, before, rng)
    wrong = np.vstack([early, labels(LONG // 3, STREAMS, after, rng)])
    at: Integers = rule(wrong, TOLERATED)
    # What learns counts from when it has learned.
    since = 0 if rule is over_the_first else FIRST_LABELS
    return float(np.median(at - since))


if __name__ == "__main__":
    main()
