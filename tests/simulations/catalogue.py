"""All promises, in the order in which docs/guarantees.md prints them."""

from __future__ import annotations

from tests.simulations import (
    error_monitors,
    free_text,
    input_monitors,
    live_accuracy,
    promotions,
    reviewers,
    rollouts,
    shadows,
    slices,
    strata,
    thresholds,
)
from tests.simulations.promise import Promise

PROMISES: tuple[Promise, ...] = (
    *promotions.PROMISES,
    *slices.PROMISES,
    *strata.PROMISES,
    *thresholds.PROMISES,
    *reviewers.PROMISES,
    *rollouts.PROMISES,
    *shadows.PROMISES,
    *free_text.PROMISES,
    *live_accuracy.PROMISES,
    *error_monitors.PROMISES,
    *input_monitors.PROMISES,
)
