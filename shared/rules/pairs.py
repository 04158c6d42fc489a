"""What pairs say in which one of two did better: an e-value, which may be looked at as often as one
likes (docs/methods.md, sections 6 and 9).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# How often the better one may win an unequal pair: none is known, so all have a part of the
# evidence.
SHARES = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# exp of more is no float.
MOST_LOG = 700.0


def mean_ratio(logs: Sequence[float]) -> float:
    """Return the mean of likelihood ratios, of which the logarithms are given."""
    return sum(math.exp(min(value, MOST_LOG)) for value in logs) / len(logs)


def evidence_of_winning(wins: int, losses: int) -> float:
    """Return the e-value against "it wins at most half of the unequal pairs".

    Where that is so it ever reaches 1/a with probability a at most (Ville 1939).
    """
    return mean_ratio(
        [wins * math.log(2 * share) + losses * math.log(2 * (1 - share)) for share in SHARES]
    )
