"""A window is compared with answers of the same hours, in the same proportions."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np

from services.evaluator.matching import HOURS, beside, matched, slot_of

NOON = 12


def at(day: int, hour: float) -> float:
    """Return a moment of the week that begins with Monday the 2nd of March 2026."""
    moment = datetime(2026, 3, 2 + day, int(hour), round(hour % 1 * 60), tzinfo=UTC)
    return moment.timestamp()


def test_hours_of_weekends_are_others_than_those_of_weekdays() -> None:
    assert [slot_of(at(day, 9.5)) for day in range(7)] == [9] * 5 + [HOURS + 9] * 2


def test_an_hour_is_beside_the_next_also_where_the_kind_of_day_changes() -> None:
    assert set(beside(NOON)) == {11, 13}
    assert set(beside(HOURS)) == {HOURS + 23, HOURS + 1, 23}
    assert set(beside(23)) == {22, 0, HOURS}


def test_both_samples_have_the_same_mix_of_hours() -> None:
    rng = np.random.default_rng(1)
    reference = rng.choice([8, 9, 20], 600, p=[0.6, 0.2, 0.2]).tolist()
    window = rng.choice([8, 9, 20], 100, p=[0.1, 0.1, 0.8]).tolist()
    found = matched(reference, window, 500)
    assert found is not None
    mine, its = (
        Counter(slots[place] for place in places)
        for slots, places in zip((reference, window), found, strict=True)
    )
    assert len(set(found[0])) == len(found[0]) and its == Counter(window)
    assert abs(mine[20] / mine.total() - its[20] / its.total()) < 0.02


def test_an_hour_that_the_reference_does_not_know_is_no_match() -> None:
    assert matched([9] * 500, [20] * 100, 500) is None
    # A fifth of the window may be of such hours: the rest is compared.
    found = matched([9] * 500, [9] * 80 + [20] * 20, 500)
    assert found is not None and len(found[1]) == 80
    assert matched([9] * 500, [9] * 79 + [20] * 21, 500) is None


def test_an_hour_beside_helps_out_and_no_answer_is_dealt_twice() -> None:
    found = matched([9] * 120 + [10] * 30, [10] * 100, 500)
    assert found is not None
    assert 100 <= len(set(found[0])) == len(found[0]) <= 150
    assert matched([9] * 60 + [10] * 30, [10] * 100, 500) is None
