"""The promotion gate: a challenger is promoted only when it is proven better, on the same rows,
than all it would replace.

Each comparison is a one-sided mid-p McNemar test at 5 % (methods page, section 6): exact McNemar is
conservative (measured type I .011-.040), mid-p stays at .029-.052. All must pass, so false
promotion needs no correction for their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binom

from schemas.base import Arm
from schemas.events import PairedTest

ALPHA = 0.05


@dataclass(frozen=True)
class Outcomes:
    """One arm on the held-out rows, row by row: was it right, and did it keep the format."""

    arm: Arm
    correct: Sequence[bool]
    formatted: Sequence[bool]


@dataclass(frozen=True)
class Decision:
    promote: bool
    tests: tuple[PairedTest, ...]
    reasons: tuple[str, ...]


def mcnemar_midp(wins: int, losses: int) -> float:
    """P(at least so many wins | no difference), counting the observed number half."""
    n = wins + losses
    return float(binom.sf(wins, n, 0.5) + 0.5 * binom.pmf(wins, n, 0.5))


def discordant(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int]:
    """Rows where only we are right, and rows where only they are."""
    pairs = list(zip(ours, theirs, strict=True))
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def decide(challenger: Outcomes, others: Sequence[Outcomes], alpha: float = ALPHA) -> Decision:
    """Promote iff the challenger beats every other arm and keeps the format no worse than any of
    them.
    """
    if not challenger.correct:
        return Decision(
            False,
            (),
            (
                (
                    "rejected: no held-out rows to judge it by; raise review.audit_rate or wait for"
                    " more reviews"
                ),
            ),
        )
    tests = tuple(_superior(challenger, other, alpha) for other in others)
    formats = [_format_kept(challenger, other, alpha) for other in others]
    promote = (
        bool(tests) and all(test.passed for test in tests) and all(kept for kept, _ in formats)
    )
    words = [_in_words(test, challenger, other) for test, other in zip(tests, others, strict=True)]
    verdict = "promoted: every test passed" if promote else "rejected: not every test passed"
    return Decision(promote, tests, (verdict, *words, *(text for _, text in formats)))


def _superior(challenger: Outcomes, other: Outcomes, alpha: float) -> PairedTest:
    wins, losses = discordant(challenger.correct, other.correct)
    p = mcnemar_midp(wins, losses)
    return PairedTest(
        against=other.arm, wins=wins, losses=losses, p_value=p, alpha=alpha, passed=p <= alpha
    )


def _format_kept(challenger: Outcomes, other: Outcomes, alpha: float) -> tuple[bool, str]:
    """Fails when the same test, turned round, shows that the challenger breaks the format more
    often.
    """
    better, worse = discordant(challenger.formatted, other.formatted)
    p = mcnemar_midp(worse, better)
    ours = _percent(challenger.formatted)
    theirs = _percent(other.formatted)
    if worse > better and p <= alpha:
        return (
            False,
            (
                f"format broken more often than by {other.arm}: kept in {ours} of the answers"
                f" against {theirs} (p = {p:.2g})"
            ),
        )
    return True, f"format kept in {ours} of the answers, by {other.arm} in {theirs}"


def _in_words(test: PairedTest, challenger: Outcomes, other: Outcomes) -> str:
    found = "better than" if test.passed else "not proven better than"
    return (
        f"{found} {test.against}: {sum(challenger.correct)} of {len(challenger.correct)} right"
        f" against {sum(other.correct)}; {test.wins} rows won, {test.losses} lost; p ="
        f" {test.p_value:.2g}, at most {test.alpha:g} passes"
    )


def _percent(flags: Sequence[bool]) -> str:
    return f"{100 * sum(flags) / len(flags):.1f} %"
