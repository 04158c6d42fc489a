"""The threshold above which answers are proven to be wrong at most so often (docs/methods.md,
section 3).

It is certified by exact binomial tests on coverages fixed before the labels were seen. Thresholds
come from scores alone, so no label has a say in which rows are tested.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, binom

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# A certified threshold of an adapter that is promoted is wrong in at most one of ten.
DELTA = 0.10
# The coverages that are tested, as shares of the traffic, fixed in advance.
COVERAGES = np.arange(1, 21) / 20
# From so many rows on three sequences are tested, each at a third of the level: where the surest
# answers are not the best ones, a single sequence ends at its first step, and the sooner the more
# rows there are. The later two start at these coverages.
MANY_ROWS = 200
LATER_STARTS = (0.25, 0.5)
# With fewer rows a single one is tested, at half: an adapter that did well enough on these rows to
# be promoted looks better on them than it is. Of such adapters, wrong a little more often than is
# tolerated, 14 % break the promise when tested at DELTA with 85 rows, and 9 % at half of it.
HALF = DELTA / 2
# What is looked at for the number of labels that is missing.
MOST_LABELS = 20_000
POWER = 0.8


def clopper_pearson_upper(errors: int, n: int, delta: float = DELTA) -> float:
    """Return the error rate that `errors` in `n` rule out at confidence 1 - delta."""
    return 1.0 if errors >= n else float(beta.ppf(1 - delta, errors + 1, n - errors))


def certify(p: Floats, correct: Bools, max_risk: float) -> float | None:
    """Return the loosest threshold whose accepted answers are proven wrong at most `max_risk` of
    the time; None if there is none.
    """
    delta = level_of(len(p))
    first = first_coverage(len(p), max_risk, delta)
    later = [max(first, start) for start in LATER_STARTS if len(p) >= MANY_ROWS]
    found = [sequence(p, correct, max_risk, delta, start) for start in {first, *later}]
    return min((threshold for threshold in found if threshold is not None), default=None)


def level_of(n: int) -> float:
    """Return the level of each sequence that is tested on `n` rows."""
    return HALF if n < MANY_ROWS else DELTA / (1 + len(LATER_STARTS))


def sequence(
    p: Floats, correct: Bools, max_risk: float, delta: float, start: float
) -> float | None:
    """Return the loosest threshold of one fixed sequence: coverages from `start` outwards, each
    tested at `delta`, until the first that fails.
    """
    falling = np.sort(p)[::-1]
    passed = None
    for coverage in COVERAGES[start <= COVERAGES]:
        threshold = float(falling[int(np.ceil(coverage * len(p))) - 1])
        # Ties with the threshold are accepted in serving, so they are tested too.
        accepted = p >= threshold
        errors = int((~correct[accepted]).sum())
        if clopper_pearson_upper(errors, int(accepted.sum()), delta) > max_risk:
            break
        passed = threshold
    return passed


def first_coverage(n: int, max_risk: float, delta: float) -> float:
    """Return the coverage to start with: the first with room for one error, else for none.

    It depends on `n` alone, and is infinite where not even all rows suffice. Starting where a
    single error already ends the sequence would throw good adapters away: at 10 %, 29 rows allow
    none and 46 allow one.
    """
    for allowed in (1, 0):
        for coverage in COVERAGES:
            if clopper_pearson_upper(allowed, int(np.ceil(coverage * n)), delta) <= max_risk:
                return float(coverage)
    return np.inf


def labels_missing(p: Floats, correct: Bools, max_risk: float) -> int | None:
    """Return how many more labels would certify some coverage in 8 of 10 tries, were the errors as
    frequent as they are here; None where no number in sight would.
    """
    falling = np.argsort(-p, kind="stable")
    wrong = np.cumsum(~correct[falling])
    n = len(p)
    taken = np.ceil(COVERAGES * n).astype(int)
    # As if two more had been wrong as often as is tolerated.
    rates = (wrong[taken - 1] + 2 * max_risk) / (taken + 2)
    wanted = n
    while wanted < MOST_LABELS:
        wanted = max(wanted + 1, int(wanted * 1.1))
        inside = np.ceil(COVERAGES * wanted).astype(int)
        most = most_errors(inside, max_risk, level_of(wanted))
        if (binom.cdf(most, inside, rates) >= POWER).any():
            return wanted - n
    return None


def most_errors(n: npt.NDArray[np.int_], max_risk: float, delta: float) -> Floats:
    """Return the largest numbers of errors that still certify `n` rows, -1 where none does."""
    found = binom.ppf(delta, n, max_risk)
    most: Floats = np.where(binom.cdf(found, n, max_risk) > delta, found - 1, found)
    return most
