"""Two arms on the same rows: only the rows on which they differ say which one is better.

`wins` are the rows where only ours is right, `losses` those where only theirs is.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt

from scipy.optimize import brentq
from scipy.stats import binom, norm

# One-sided level of what is ruled out.
RULED_OUT = 0.05
POWER = 0.8


def discordant(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int]:
    """Count the wins and the losses."""
    pairs = list(zip(ours, theirs, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def mcnemar_midp(wins: int, losses: int) -> float:
    """Return P(at least so many wins | no difference), counting the observed number half."""
    n = wins + losses
    return float(binom.sf(wins, n, 0.5) + 0.5 * binom.pmf(wins, n, 0.5))


def mcnemar_exact(wins: int, losses: int) -> float:
    """Return P(at least so many wins | no difference): never too small, however few rows differ."""
    return float(binom.sf(wins - 1, wins + losses, 0.5))


def tango_z(wins: int, losses: int, n: int, margin: float) -> float:
    """Return the score statistic against "ours is worse by `margin` or more" (Tango 1998,
    Statistics in Medicine 17:891-908); large values speak against it.
    """
    difference = -margin
    a = 2 * n
    b = -wins - losses + (2 * n - wins + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * share + difference * (1 - difference))
    return (wins - losses - n * difference) / sqrt(max(variance, 1e-12))


def most_loss(wins: int, losses: int, n: int) -> float:
    """Return the smallest loss of accuracy that is ruled out at 95 %, in [0, 1]: 0 where any is."""
    return max(0.0, _not_ruled_out(wins, losses, n, RULED_OUT))


def gain_interval(wins: int, losses: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of what ours gains on theirs, in [-1, 1]."""
    level = RULED_OUT / 2
    return -_not_ruled_out(wins, losses, n, level), _not_ruled_out(losses, wins, n, level)


def _not_ruled_out(wins: int, losses: int, n: int, level: float) -> float:
    """Return the largest loss that is not ruled out at a level; below 0 where a gain is proven."""
    needed = float(norm.isf(level))
    least, most = -1 + 1e-9, 1 - 1e-9
    if n == 0 or tango_z(wins, losses, n, most) < needed:
        return 1.0
    if tango_z(wins, losses, n, least) >= needed:
        return -1.0
    return float(brentq(lambda m: tango_z(wins, losses, n, m) - needed, least, most, xtol=1e-6))


def rows_needed(discordance: float, gain: float, alpha: float) -> int:
    """Return how many rows find a gain in 8 of 10 tries, where the arms differ on the share
    `discordance` of the rows (docs/methods.md, section 6).
    """
    spread = max(discordance, gain)
    reach = norm.isf(alpha) * sqrt(spread) + norm.ppf(POWER) * sqrt(spread - gain * gain)
    return ceil(float(reach / gain) ** 2)
