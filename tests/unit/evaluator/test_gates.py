"""The gate promotes what is better and, at the stated rate, nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from services.evaluator.gates import LEAST_ROWS, Outcomes, Terms, judge_challenger
from services.evaluator.groups import compare_groups
from services.evaluator.paired import mcnemar_midp, most_loss, rows_needed, tango_z
from services.evaluator.spending import LIFE, level, share

RUNS = 2_000
ROWS = 85
TERMS = Terms(alpha=0.05)


def arm(name: str, correct: list[bool], formatted: list[bool] | None = None) -> Outcomes:
    return Outcomes(name, correct, formatted or [True] * len(correct))


def test_a_clear_win_is_promoted_and_says_why() -> None:
    decision = judge_challenger(
        arm("challenger", [True] * 70 + [False] * 15),
        [arm("base", [True] * 20 + [False] * 65)],
        TERMS,
    )
    assert decision.promote and decision.tests[0].wins == 50 and decision.tests[0].losses == 0
    assert "70 of 85 right against 20" in decision.reasons[1]


def test_beating_the_base_is_not_enough_where_there_is_a_champion() -> None:
    good = [True] * 70 + [False] * 15
    decision = judge_challenger(
        arm("challenger", good),
        [arm("base", [True] * 20 + [False] * 65), arm("champion", good)],
        TERMS,
    )
    assert not decision.promote
    assert [test.passed for test in decision.tests] == [True, False]
    assert decision.reasons[2].startswith("not proven better than champion")


def test_a_challenger_that_breaks_the_format_is_rejected() -> None:
    broken = [True] * 75 + [False] * 10
    decision = judge_challenger(
        arm("challenger", [True] * 70 + [False] * 15, broken),
        [arm("base", [True] * 20 + [False] * 65)],
        TERMS,
    )
    assert not decision.promote and "format broken more often than by base" in decision.reasons[-1]


def test_without_rows_or_without_anything_to_beat_nothing_is_promoted() -> None:
    assert not judge_challenger(arm("challenger", []), [arm("base", [])], TERMS).promote
    assert not judge_challenger(arm("challenger", [True] * 50), [], TERMS).promote


def test_a_few_rows_promote_nothing_however_clear_they_are() -> None:
    for n, promotes in ((4, False), (LEAST_ROWS - 1, False), (LEAST_ROWS, True)):
        decision = judge_challenger(
            arm("challenger", [True] * n), [arm("base", [False] * n)], TERMS
        )
        assert decision.promote is promotes
        assert decision.tests or f"{n} audited rows" in decision.reasons[0]


def test_a_label_that_vanishes_is_no_improvement() -> None:
    """Of 1,000 rows ten are fraud: who never says so wins 990 to 952."""
    labels = ["ok"] * 990 + ["fraud"] * 10
    ours = [True] * 990 + [False] * 10
    theirs = [True] * 943 + [False] * 47 + [True] * 9 + [False]
    base = arm("base", [False] * 1000)
    terms = Terms(alpha=0.05, labels=labels)
    decision = judge_challenger(arm("challenger", ours), [base, arm("champion", theirs)], terms)
    assert all(test.passed for test in decision.tests) and not decision.promote
    assert "label 'fraud' loses against champion: 9 of 10 rows lost, 0 won" in decision.reasons
    assert {group.name: group.finding for group in decision.groups} == {
        "fraud": "harmed",
        "ok": "kept",
    }
    unlabelled = judge_challenger(arm("challenger", ours), [base, arm("champion", theirs)], TERMS)
    assert unlabelled.promote  # negative control


def test_a_label_with_too_few_rows_is_said_to_be_untested() -> None:
    labels = ["ok"] * 60 + ["rare"] * 5
    (ok, rare) = compare_groups(labels, {}, [True] * 65, [False] * 2 + [True] * 63)
    assert (ok.finding, rare.finding, rare.n) == ("kept", "untested", 5)
    decision = judge_challenger(
        arm("challenger", [True] * 65), [arm("base", [False] * 65)], Terms(0.05, labels)
    )
    assert decision.promote and not any("too few rows" in why for why in decision.reasons[:2])


def test_the_accuracy_that_is_asked_for_must_be_proven() -> None:
    ours = arm("challenger", [True] * 90 + [False] * 10)
    base = arm("base", [False] * 100)
    assert judge_challenger(ours, [base], Terms(0.05, target=0.8)).promote
    refused = judge_challenger(ours, [base], Terms(0.05, target=0.9))
    assert not refused.promote and "targets.accuracy asks 90.0%" in refused.reasons[-1]
    assert "points more" in refused.reasons[-1]


def test_the_levels_of_all_attempts_are_what_a_route_has() -> None:
    assert sum(share(attempt) for attempt in range(1, 200_000)) == pytest.approx(1, abs=2e-3)
    assert level([]) == pytest.approx(LIFE * share(1))
    assert level([False, False]) == pytest.approx(LIFE * share(3))
    assert level([True]) == pytest.approx(LIFE * (share(1) + share(2)))
    assert level([True, False]) == pytest.approx(LIFE * share(3))


def test_tango_and_the_rows_needed_are_those_of_the_tables() -> None:
    """Without discordant rows z is that of n rows that could all have been lost."""
    assert tango_z(0, 0, 100, 0.05) == pytest.approx((100 * 0.05) ** 0.5 * (1 / 0.95) ** 0.5)
    assert most_loss(0, 0, 100) == pytest.approx(2.706 / 102.706, abs=1e-3)
    assert most_loss(5, 30, 100) > 0.25 > most_loss(5, 10, 100) > 0.05
    assert rows_needed(0.10, 0.05, 0.05) == pytest.approx(245, abs=1)
    assert rows_needed(0.20, 0.10, 0.05) == pytest.approx(121, abs=1)


def test_midp_matches_the_binomial_by_hand() -> None:
    assert np.isclose(mcnemar_midp(5, 0), 0.5 / 32)
    assert np.isclose(mcnemar_midp(0, 0), 0.5)
    assert np.isclose(mcnemar_midp(3, 3), 0.5)


def aa_promotions() -> tuple[float, float]:
    """Two arms that are equally good, 2,000 times: how often the gate promotes, and how often `the
    higher mean wins` does.
    """
    rng = np.random.default_rng(6)
    ours, theirs = (rng.random((RUNS, ROWS)) < 0.8 for _ in range(2))
    wins = (ours & ~theirs).sum(1)
    losses = (theirs & ~ours).sum(1)
    gate = np.mean(
        [mcnemar_midp(int(b), int(c)) <= 0.05 for b, c in zip(wins, losses, strict=True)]
    )
    return float(gate), float(np.mean(wins > losses))


def test_false_promotion_stays_at_the_stated_level_and_the_naive_rule_does_not() -> None:
    gate, naive = aa_promotions()
    assert gate <= 0.05 + 0.01
    assert naive > 0.05 + 0.01  # negative control


def test_power_is_what_the_table_says() -> None:
    """Discordant share .20, true gain 10 points, 121 rows: 80 % (docs/methods.md, section 6)."""
    rng = np.random.default_rng(7)
    draws = rng.multinomial(121, [0.15, 0.05, 0.80], size=1_000)
    assert abs(np.mean([mcnemar_midp(int(b), int(c)) <= 0.05 for b, c, _ in draws]) - 0.80) <= 0.03
