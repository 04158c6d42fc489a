"""The promotion gate: a challenger is promoted only when it is proven better, on the same audited
rows, than all it would replace.

Only audited rows decide: they are a uniform sample of the traffic. Each comparison is a one-sided
mid-p McNemar test (docs/methods.md, section 6) at the level that the attempt has
(`spending.level`). All must pass, so false promotion needs no correction for their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.base import Arm
from schemas.evaluation import GroupTest, PairedTest
from services.evaluator.certificate import clopper_pearson_upper
from services.evaluator.groups import MOST_VALUES, compare_groups
from services.evaluator.paired import discordant, mcnemar_midp, rows_needed

# A gain of 25 points where the arms differ on 35 % of the rows is found on 45 rows in 8 of 10 tries
# at the level of a first attempt; with fewer there is nothing worth to be found.
LEAST_ROWS = 45
# Level of the test that the format is broken more often, and of the bound on the accuracy.
LEVEL = 0.05
GAIN = 0.05
# Labels or slices that a sentence names.
MOST_NAMES = 20


@dataclass(frozen=True)
class Outcomes:
    """How one arm did on the audited rows, in their order."""

    arm: Arm
    # Whether each answer was right, and whether it kept the format.
    correct: Sequence[bool]
    formatted: Sequence[bool]


@dataclass(frozen=True)
class Terms:
    """What a challenger is held to."""

    # The level of each comparison.
    alpha: float
    # The right label of each row; empty where answers are no labels.
    labels: Sequence[str] = ()
    # The value of each row by key of metadata, "" where it has none.
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # The accuracy that must be proven.
    target: float = 0.0


@dataclass(frozen=True)
class GateResult:
    """Whether the challenger is promoted, by which tests, and why in words."""

    promote: bool
    tests: tuple[PairedTest, ...]
    reasons: tuple[str, ...]
    groups: tuple[GroupTest, ...] = ()
    # Rows that would find a gain of five points against the strongest arm.
    rows_for_five_points: int | None = None


@dataclass
class Checks:
    """What is asked beside the tests: `words` say how each came out."""

    passed: bool = True
    words: list[str] = field(default_factory=list)

    def note(self, passed: bool, words: str) -> None:
        self.passed &= passed
        self.words.append(words)


def judge_challenger(challenger: Outcomes, others: Sequence[Outcomes], terms: Terms) -> GateResult:
    """Promote iff the challenger beats every other arm, keeps the format no worse than any of them,
    loses on no label or slice, and reaches the accuracy that is asked for.
    """
    if len(challenger.correct) < LEAST_ROWS:
        return GateResult(promote=False, tests=(), reasons=(too_few(len(challenger.correct)),))
    tests = tuple(_superior(challenger, other, terms.alpha) for other in others)
    checks = Checks()
    for other in others:
        check_format(checks, challenger, other)
    groups = _check_groups(checks, challenger, others, terms)
    if terms.target:
        _check_accuracy(checks, challenger, terms.target)
    promote = bool(tests) and all(test.passed for test in tests) and checks.passed
    verdict = "promoted: every test passed" if promote else "rejected: not every test passed"
    words = [_in_words(test, challenger, other) for test, other in zip(tests, others, strict=True)]
    return GateResult(
        promote=promote,
        tests=tests,
        reasons=(verdict, *words, *checks.words),
        groups=groups,
        rows_for_five_points=rows_for_a_gain(tests, len(challenger.correct), terms.alpha),
    )


def too_few(rows: int) -> str:
    return (
        f"rejected: {rows} audited rows to judge it by, and fewer than {LEAST_ROWS} find no gain;"
        " raise review.audit_rate or wait for more reviews"
    )


def rows_for_a_gain(tests: Sequence[PairedTest], rows: int, alpha: float) -> int | None:
    """Return how many rows find a gain of five points over the arm that was hardest to beat."""
    if not tests:
        return None
    hardest = max(tests, key=lambda test: test.p_value)
    return rows_needed((hardest.wins + hardest.losses) / rows, GAIN, alpha)


def _superior(challenger: Outcomes, other: Outcomes, alpha: float) -> PairedTest:
    wins, losses = discordant(challenger.correct, other.correct)
    p = mcnemar_midp(wins, losses)
    return PairedTest(
        against=other.arm, wins=wins, losses=losses, p_value=p, alpha=alpha, passed=p <= alpha
    )


def check_format(checks: Checks, challenger: Outcomes, other: Outcomes) -> None:
    """Fail when the same test, turned round, shows that the challenger breaks the format more
    often.
    """
    better, worse = discordant(challenger.formatted, other.formatted)
    p = mcnemar_midp(worse, better)
    ours = _percent(challenger.formatted)
    theirs = _percent(other.formatted)
    if worse > better and p <= LEVEL:
        checks.note(
            False,
            f"format broken more often than by {other.arm}: kept in {ours} of the answers"
            f" against {theirs} (p = {p:.2g})",
        )
    else:
        checks.note(True, f"format kept in {ours} of the answers, by {other.arm} in {theirs}")


def _check_groups(
    checks: Checks, challenger: Outcomes, others: Sequence[Outcomes], terms: Terms
) -> tuple[GroupTest, ...]:
    """Fail when a label or slice is proven to lose against what serves: the champion, else the
    base.
    """
    if not others:
        return ()
    serving = others[-1]
    groups = compare_groups(terms.labels, terms.slices, challenger.correct, serving.correct)
    for group in groups:
        if group.finding == "harmed":
            checks.note(
                False,
                f"{group.kind} '{group.name}' loses against {serving.arm}: {group.losses} of"
                f" {group.n} rows lost, {group.wins} won",
            )
    for kind in ("label", "slice"):
        some = [group for group in groups if group.kind == kind]
        untested = [f"{group.name} ({group.n})" for group in some if group.finding == "untested"]
        if untested:
            checks.note(
                True,
                f"too few rows to rule out a loss of 10 points against {serving.arm} on"
                f" {len(untested)} of {len(some)} {kind}s (rows): {shortened(untested)}",
            )
    for key, values in terms.slices.items():
        _check_values(checks, key, len({value for value in values if value}))
    return groups


def _check_values(checks: Checks, key: str, values: int) -> None:
    """Say of a slice what was not compared."""
    if not values:
        checks.note(True, f"slice '{key}' is untested: no audited row has a value of it")
    elif values > MOST_VALUES:
        checks.note(
            True, f"slice '{key}' has {values} values: the {MOST_VALUES} most frequent are compared"
        )


def shortened(names: Sequence[str]) -> str:
    """Return a list that a person reads to its end."""
    rest = len(names) - MOST_NAMES
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _check_accuracy(checks: Checks, challenger: Outcomes, target: float) -> None:
    """Fail when the accuracy is not proven to reach the route's target."""
    n = len(challenger.correct)
    proven = 1 - clopper_pearson_upper(n - sum(challenger.correct), n, LEVEL)
    words = f"accuracy of at least {100 * proven:.1f} % proven; targets.accuracy asks {target:.1%}"
    if proven < target:
        words += f", {100 * (target - proven):.1f} points more"
    checks.note(proven >= target, words)


def _in_words(test: PairedTest, challenger: Outcomes, other: Outcomes) -> str:
    found = "better than" if test.passed else "not proven better than"
    return (
        f"{found} {test.against}: {sum(challenger.correct)} of {len(challenger.correct)} right"
        f" against {sum(other.correct)}; {test.wins} rows won, {test.losses} lost; p ="
        f" {test.p_value:.2g}, at most {test.alpha:.2g} passes"
    )


def _percent(flags: Sequence[bool]) -> str:
    return f"{100 * sum(flags) / len(flags):.1f} %"
