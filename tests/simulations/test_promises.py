"""Every promise in its short form: it holds in each of its worlds, and its control breaks it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulations.catalogue import PROMISES
from tests.simulations.promise import Promise

SEED = 20261127


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_a_promise_holds_in_each_of_its_worlds(promise: Promise) -> None:
    for measured in promise.simulate(promise.short, np.random.default_rng(SEED)):
        assert promise.holds(measured), (measured, measured.interval)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_the_rule_that_is_not_used_breaks_the_promise(promise: Promise) -> None:
    for measured in promise.control(promise.short, np.random.default_rng(SEED)):
        assert promise.breaks(measured), (measured, measured.interval)
