"""The level at which each attempt of a route is tested, so that at most 5 % of the routes ever
have a promotion that is no improvement, however often they try.

Online fallback (Tian, Ramdas 2021, Online control of the familywise error rate, Statistical Methods
in Medical Research 30:976-993): attempt k has the share `share(k)` of the 5 %, and the level of the
attempt before it where that one promoted. It holds whatever the attempts share: rows, base, data.
Tested at 5 % each, ten attempts of adapters that are no better promote one in 10 to 37 % of the
routes (docs/guarantees.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

# Of a route, over its whole life.
LIFE = 0.05
# The shares 1, 1/4, 1/9 ... of all attempts sum to this: attempts 1, 2, 3 and 10 are tested at 3.0,
# 0.8, 0.3 and 0.03 %. Of loops of three attempts, each five points better, 84 % promote; where the
# shares fall as k^-1.6 83 %, as k^-3 85 %, which leaves a tenth of it to the tenth attempt.
ALL_SHARES = pi**2 / 6


def share(attempt: int) -> float:
    """Return the share of LIFE that an attempt has by itself; they count from 1."""
    return 1 / (attempt * attempt * ALL_SHARES)


def level(promoted: Sequence[bool]) -> float:
    """Return the level of the next attempt; `promoted` says of each one before whether it did."""
    alpha = 0.0
    for attempt, recycled in enumerate((False, *promoted), start=1):
        alpha = LIFE * share(attempt) + (alpha if recycled else 0.0)
    return alpha
