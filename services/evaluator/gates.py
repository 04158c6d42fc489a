"""The promotion gate: a challenger is promoted only when it is proven better, on the same rows,
than all it would replace.

Each comparison is a one-sided mid-p McNemar test at 5 % (docs/methods.md, section 6): exact McNemar
is conservative (measured type I .011-.040), mid-p stays at .029-.052. All must pass, so false
promotion needs no correction for their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binom

from schemas.base import Arm
from schemas.evaluation import PairedTest

ALPHA = 0.05
NO_ROWS = (
    "rejected: no held-out rows to judge it by; raise review.audit_rate or wait for more reviews"
)


@dataclass(frozen=True)
class Outcomes:
    """How one arm did on the held-out rows, in their order."""

    arm: Arm
    # Whether each answer was right, and whether it kept the format.
    correct: Sequence[bool]
    formatted: Sequence[bool]


@dataclass(frozen=True)
class GateResult:
    """Whether the challenger is promoted, by which tests, and why in words."""

    promote: bool
    tests: tuple[PairedTest, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FormatCheck:
    kept: bool
    words: str


def mcnemar_midp(wins: int, losses: int) -> float:
    """Return P(at least so many wins | no difference), counting the observed number half."""
    n = wins + losses
    return float(binom.sf(wins, n, 0.5) + 0.5 * binom.pmf(wins, n, 0.5))


def discordant(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int]:
    """Count the rows where only we are right, and those where only they are."""
    pairs = list(zip(ours, theirs, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def judge_challenger(
    challenger: Outcomes, others: Sequence[Outcomes], alpha: float = ALPHA
) -> GateResult:
    """Promote iff the challenger beats every other arm and keeps the format no worse than any of
    them.
    """
    if not challenger.correct:
        return GateResult(promote=False, tests=(), reasons=(NO_ROWS,))
    tests = tuple(_superior(challenger, other, alpha) for other in others)
    formats = [_format_kept(challenger, other, alpha) for other in others]
    promote = (
        bool(tests) and all(test.passed for test in tests) and all(check.kept for check in formats)
    )
    words = [_in_words(test, challenger, other) for test, other in zip(tests, others, strict=True)]
    verdict = "promoted: every test passed" if promote else "rejected: not every test passed"
    return GateResult(promote, tests, (verdict, *words, *(check.words for check in formats)))


def _superior(challenger: Outcomes, other: Outcomes, alpha: float) -> PairedTest:
    wins, losses = discordant(challenger.correct, other.correct)
    p = mcnemar_midp(wins, losses)
    return PairedTest(
        against=other.arm, wins=wins, losses=losses, p_value=p, alpha=alpha, passed=p <= alpha
    )


def _format_kept(challenger: Outcomes, other: Outcomes, alpha: float) -> FormatCheck:
    """Fail when the same test, turned round, shows that the challenger breaks the format more
    often.
    """
    better, worse = discordant(challenger.formatted, other.formatted)
    p = mcnemar_midp(worse, better)
    ours = _percent(challenger.formatted)
    theirs = _percent(other.formatted)
    if worse > better and p <= alpha:
        return FormatCheck(
            kept=False,
            words=(
                f"format broken more often than by {other.arm}: kept in {ours} of the answers"
                f" against {theirs} (p = {p:.2g})"
            ),
        )
    return FormatCheck(True, f"format kept in {ours} of the answers, by {other.arm} in {theirs}")


def _in_words(test: PairedTest, challenger: Outcomes, other: Outcomes) -> str:
    found = "better than" if test.passed else "not proven better than"
    return (
        f"{found} {test.against}: {sum(challenger.correct)} of {len(challenger.correct)} right"
        f" against {sum(other.correct)}; {test.wins} rows won, {test.losses} lost; p ="
        f" {test.p_value:.2g}, at most {test.alpha:g} passes"
    )


def _percent(flags: Sequence[bool]) -> str:
    return f"{100 * sum(flags) / len(flags):.1f} %"
