"""The error detector keeps its run length and still finds a rise soon; a rolling z-test does not
keep it.
"""

from __future__ import annotations

import numpy as np

from services.evaluator.monitor import ErrorDetector, rises, step

STREAMS = 300
RUN_LENGTH = 2_000
TOLERATED = 0.08


def run_lengths(
    alarm: str, error: float, most: int, change: int = 0, after: float = 0.0
) -> np.ndarray:
    """Labels until the first alarm on each stream (`most` where there is none)."""
    rng = np.random.default_rng(3)
    evidence = np.zeros((STREAMS, 4))
    length = np.full(STREAMS, most)
    last = np.zeros((STREAMS, 100))
    for t in range(most):
        wrong = rng.random(STREAMS) < (after if change and t >= change else error)
        evidence = step(evidence, wrong[:, None], TOLERATED)
        last[:, t % 100] = wrong
        fired = (
            evidence.mean(1) >= RUN_LENGTH
            if alarm == "e-sr"
            else (t >= 99) & (last.mean(1) > z_limit())
        )
        length = np.where(fired & (length == most), t + 1, length)
        if (length < most).all():
            break
    return length


def z_limit() -> float:
    """Rolling window of 100, one-sided 5 %, no correction for looking after each label."""
    return TOLERATED + 1.645 * np.sqrt(TOLERATED * (1 - TOLERATED) / 100)


def test_mean_run_length_at_the_tolerated_error_is_at_least_what_is_promised() -> None:
    assert run_lengths("e-sr", TOLERATED, most=20_000).mean() >= RUN_LENGTH


def test_a_rolling_z_test_breaks_that_promise() -> None:
    assert run_lengths("z", TOLERATED, most=20_000).mean() < RUN_LENGTH


def test_a_rise_from_5_to_15_percent_is_found_soon() -> None:
    length = run_lengths("e-sr", 0.05, most=1_200, change=300, after=0.15)
    late = length[length > 300] - 300
    assert np.median(late) <= 150
    assert np.mean(length <= 300) <= 0.05


def test_one_label_at_a_time_gives_the_same_as_a_batch() -> None:
    labels = np.random.default_rng(5).random(200) < 0.3
    detector = ErrorDetector(TOLERATED, RUN_LENGTH)
    evidence = np.zeros(4)
    for wrong in labels:
        detector = detector.update(bool(wrong))
        evidence = step(evidence, wrong, TOLERATED)
    assert np.allclose(detector.evidence, evidence)
    assert detector.fired


def test_it_looks_for_rises_only() -> None:
    for tolerated in (0.05, 0.2, 0.45, 0.5, 0.8):
        assert (rises(tolerated) > tolerated).all() and (rises(tolerated) < 1).all()
