"""Run the long form: python -m tests.simulations [NAME ...]

Without names it tries every promise and writes docs/guarantees.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from tests.simulations.catalogue import PROMISES
from tests.simulations.promise import Measured, Promise
from tests.simulations.table import Tried, written

TABLE = Path("docs/guarantees.md")
SEED = 13


def main(names: Sequence[str]) -> int:
    """Try the promises; return how many do not hold, or have a control that does."""
    console = Console()
    tried = []
    failures = 0
    for promise in PROMISES:
        if names and promise.name not in names:
            continue
        started = time.monotonic()
        one = attempt(promise)
        tried.append(one)
        failures += not one.is_borne_out
        seconds = time.monotonic() - started
        console.print(f"{'ok  ' if one.is_borne_out else 'FAIL'} {promise.name} ({seconds:.0f} s)")
        for kind, found in (("promised", one.measured), ("control", one.control)):
            for measured in found:
                console.print(f"     {kind}: {measured.world}: {in_words(measured)}")
    if not names:
        TABLE.write_text(written(tried), encoding="utf-8")
    return failures


def attempt(promise: Promise) -> Tried:
    rng = np.random.default_rng([SEED, *promise.name.encode()])
    return Tried(promise, promise.simulate(promise.long, rng), promise.control(promise.long, rng))


def in_words(measured: Measured) -> str:
    low, high = measured.interval
    return f"{measured.rate:.1%} of {measured.runs} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
