"""Run the long form: python -m tests.simulations [NAME ...]

Without names it tries every promise and writes docs/guarantees.md and .svg.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console

from tests.simulations.attempts import attempt
from tests.simulations.catalogue import PROMISES
from tests.simulations.plot import draw
from tests.simulations.promise import Measured
from tests.simulations.table import Tried, written

TABLE = Path("docs/guarantees.md")
PLOT = TABLE.with_suffix(".svg")


def main(names: Sequence[str]) -> int:
    """Try the promises; return how many do not hold, or have a control that does."""
    console = Console()
    chosen = [promise for promise in PROMISES if not names or promise.name in names]
    tried = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        attempts = pool.map(attempt, [promise.name for promise in chosen])
        for promise, made in zip(chosen, attempts, strict=True):
            one = Tried(promise, made.measured, made.control)
            tried.append(one)
            verdict = "ok  " if one.is_borne_out else "FAIL"
            console.print(f"{verdict} {promise.name} ({made.seconds:.0f} s)")
            for kind, found in (("promised", one.measured), ("control", one.control)):
                for measured in found:
                    console.print(f"     {kind}: {measured.world}: {in_words(measured)}")
    if not names:
        draw(tried, PLOT)
        TABLE.write_text(written(tried), encoding="utf-8")
    return sum(not one.is_borne_out for one in tried)


def in_words(measured: Measured) -> str:
    low, high = measured.interval
    return f"{measured.rate:.1%} of {measured.runs} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
