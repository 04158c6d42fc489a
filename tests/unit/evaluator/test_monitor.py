"""The error detectors: one label at a time and blocks of many streams are the same, alarms
re-arm, and what was counted can be heard again.
"""

from __future__ import annotations

import numpy as np
import pytest

from services.evaluator.monitor import (
    BLOCK,
    FIRST_BLOCKS,
    ErrorDetector,
    labels_to_find,
    learned_bar,
    step,
)

TOLERATED = 0.08


@pytest.mark.parametrize("bar", [TOLERATED, None])
def test_one_label_at_a_time_gives_the_same_as_a_batch_of_blocks(bar: float | None) -> None:
    """What the simulations run on is the detector itself: 100 streams of 500 labels."""
    rng = np.random.default_rng(5)
    labels = rng.random((500, 100)) < 0.3 * rng.random(100)
    blocks = labels.reshape(-1, BLOCK, 100).sum(axis=1)
    first = FIRST_BLOCKS if bar is None else 0
    bars = learned_bar(blocks[:first]) if first else np.full(100, TOLERATED)
    evidence = np.zeros((100, 4))
    for block in blocks[first:]:
        evidence = step(evidence, block[:, None], bars[:, None])
    for stream in range(100):
        detector = ErrorDetector(bar, 1e11)
        for wrong in labels[:, stream]:
            detector = detector.update(bool(wrong))
        assert np.allclose(detector.evidence, evidence[stream])
        assert detector.bar == pytest.approx(bars[stream])


def test_an_alarm_stays_until_it_is_armed_again_and_then_needs_new_evidence() -> None:
    detector = ErrorDetector(TOLERATED, 200.0)
    for _ in range(4 * BLOCK):
        detector = detector.update(True)
    assert detector.fired
    for _ in range(20 * BLOCK):
        detector = detector.update(False)
    assert detector.fired
    again = detector.rearmed()
    assert not again.fired and again.labels == 24 * BLOCK == again.armed
    assert not again.update(True).fired


def test_a_detector_that_hears_the_same_again_is_the_same() -> None:
    rng = np.random.default_rng(6)
    detector = ErrorDetector(None, 300.0)
    wrong: list[bool] = []
    for number in range(900):
        wrong.append(bool(rng.random() < (0.1 if number < 300 else 0.5)))
        detector = detector.update(wrong[-1])
        detector = detector.rearmed() if detector.fired else detector
    assert detector.armed > 0
    assert detector.heard_again(wrong, detector.armed) == detector


def test_the_delay_that_is_told_is_about_the_true_one() -> None:
    rng = np.random.default_rng(7)
    lengths = []
    for _ in range(60):
        detector = ErrorDetector(0.1, 2000.0)
        while not detector.fired:
            detector = detector.update(bool(rng.random() < 0.2))
        lengths.append(detector.labels)
    told = labels_to_find(0.1, 0.2, 2000.0)
    assert told is not None and 0.6 <= np.median(lengths) / told <= 1.2
    assert labels_to_find(0.1, 0.1, 2000.0) is None
