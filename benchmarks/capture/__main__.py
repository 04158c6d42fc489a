"""python -m benchmarks.capture --out results      Linux, two cores: the measured server on the
first, the load on the second.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from benchmarks.capture import generator, phoenix, producer, ratchet, report, topic
from benchmarks.capture.figures import Figures
from benchmarks.capture.plan import Plan
from benchmarks.capture.processes import LOAD_CORE

Measure = Callable[[Plan, Path], Coroutine[Any, Any, Figures]]
SYSTEMS: dict[str, Measure] = {
    "generator": generator.measure,
    "ratchet": ratchet.measure,
    "topic": topic.measure,
    "phoenix": phoenix.measure,
    "producer": producer.measure,
}


def main() -> None:
    arguments = parsed()
    plan = Plan(
        inferences=arguments.inferences,
        phoenix_inferences=arguments.phoenix_inferences,
        seconds=arguments.seconds,
    )
    if "phoenix" in arguments.systems:
        phoenix.install()
    os.sched_setaffinity(0, {LOAD_CORE})
    found = [measured(name, plan, arguments.work) for name in arguments.systems]
    report.write(found, asdict(plan), arguments.out)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capture", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for capture.json, capture.png and capture.svg",
    )
    parser.add_argument(
        "--work",
        type=Path,
        help="where databases are put while it runs (default: the system's temporary folder)",
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--inferences", type=int, default=Plan.inferences)
    parser.add_argument("--phoenix-inferences", type=int, default=Plan.phoenix_inferences)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="of single requests")
    return parser.parse_args()


def measured(name: str, plan: Plan, work: Path | None) -> Figures:
    load_before = os.getloadavg()[0]
    Console().print(f"measuring {name} (load {load_before:.1f}) ...")
    with tempfile.TemporaryDirectory(dir=work, ignore_cleanup_errors=True) as folder:
        figures = uvloop.run(SYSTEMS[name](plan, Path(folder)))
    figures.load_before = load_before
    return figures


if __name__ == "__main__":
    main()
