"""The long form of one promise, in a process of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tests.simulations.catalogue import PROMISES
from tests.simulations.promise import Measured

SEED = 13


@dataclass(frozen=True)
class Attempt:
    """What was measured of a promise and of its control, and how long that took."""

    measured: list[Measured]
    control: list[Measured]
    seconds: float


def attempt(name: str) -> Attempt:
    """Try a promise by its name, with random numbers of its own."""
    started = time.monotonic()
    (promise,) = (each for each in PROMISES if each.name == name)
    rng = np.random.default_rng([SEED, *name.encode()])
    measured = list(promise.simulate(promise.long, rng))
    control = list(promise.control(promise.long, rng))
    return Attempt(measured, control, time.monotonic() - started)
