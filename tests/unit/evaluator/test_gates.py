"""The gate promotes what is better and, at the stated rate, nothing else."""

from __future__ import annotations

import numpy as np

from services.evaluator.gates import Outcomes, judge_challenger, mcnemar_midp

RUNS = 2_000
ROWS = 85


def arm(name: str, correct: list[bool], formatted: list[bool] | None = None) -> Outcomes:
    return Outcomes(name, correct, formatted or [True] * len(correct))


def test_a_clear_win_is_promoted_and_says_why() -> None:
    decision = judge_challenger(
        arm("challenger", [True] * 70 + [False] * 15), [arm("base", [True] * 20 + [False] * 65)]
    )
    assert decision.promote and decision.tests[0].wins == 50 and decision.tests[0].losses == 0
    assert "70 of 85 right against 20" in decision.reasons[1]


def test_beating_the_base_is_not_enough_where_there_is_a_champion() -> None:
    good = [True] * 70 + [False] * 15
    decision = judge_challenger(
        arm("challenger", good), [arm("base", [True] * 20 + [False] * 65), arm("champion", good)]
    )
    assert not decision.promote
    assert [test.passed for test in decision.tests] == [True, False]
    assert decision.reasons[2].startswith("not proven better than champion")


def test_a_challenger_that_breaks_the_format_is_rejected() -> None:
    broken = [True] * 75 + [False] * 10
    decision = judge_challenger(
        arm("challenger", [True] * 70 + [False] * 15, broken),
        [arm("base", [True] * 20 + [False] * 65)],
    )
    assert not decision.promote and "format broken more often than by base" in decision.reasons[-1]


def test_without_rows_or_without_anything_to_beat_nothing_is_promoted() -> None:
    assert not judge_challenger(arm("challenger", []), [arm("base", [])]).promote
    assert not judge_challenger(arm("challenger", [True] * 50), []).promote


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
