"""python -m benchmarks.dataset --out results      Curates and splits made-up traffic of several
sizes, each in a process of its own: short messages with repetition and templates up to a million,
and texts of 200 words up to a hundred thousand.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.dataset.traffic import SPEC, long_texts, short_messages
from services.dataset_builder.curate import curate
from services.dataset_builder.split import split

KINDS = {"short": short_messages, "long": long_texts}
SIZES = {
    "short": (62_500, 125_000, 250_000, 500_000, 1_000_000),
    "long": (12_500, 25_000, 50_000, 100_000),
}
SECONDS = 60.0
MEGABYTES = 2048


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataset", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for dataset.json and dataset.svg")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rows", type=int, help="one size instead of several")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        sys.stdout.write(json.dumps(measured(chosen.kinds[0], chosen.rows)))
        return
    found = [
        in_a_process(kind, rows)
        for kind in chosen.kinds
        for rows in ((chosen.rows,) if chosen.rows else SIZES[kind])
    ]
    show(found)
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        said = {"cores": os.cpu_count(), "runs": found}
        (chosen.out / "dataset.json").write_text(json.dumps(said, indent=1) + "\n")
        draw(found, chosen.out)
    if any(run["seconds"] > SECONDS or run["MB"] > MEGABYTES for run in found):
        raise SystemExit("a bar was missed")


def in_a_process(kind: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.dataset", "--child", "--kinds", kind]
    child = subprocess.run(
        [*command, "--rows", str(rows)], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(child.stdout)
    return found


def measured(kind: str, rows: int) -> dict[str, object]:
    verdicts = KINDS[kind](rows)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    curated = curate(verdicts, SPEC)
    parts = split(curated.training, curated.audit)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "kind": kind,
        "rows": rows,
        "seconds": round(seconds, 1),
        "CPU seconds": round(cpu_seconds(after) - cpu_seconds(before), 1),
        "MB": after.ru_maxrss // 1024,
        "MB of the verdicts": before.ru_maxrss // 1024,
        "distinct": len(curated.training),
        "lost": len(curated.lost),
        "held out": len(parts["test"]),
        "load": round(os.getloadavg()[0], 1),
    }


def cpu_seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


def show(found: list[dict[str, float]]) -> None:
    table = Table(*found[0], title="curate and split")
    for run in found:
        table.add_row(*(f"{it:,}" if isinstance(it, int) else str(it) for it in run.values()))
    Console(width=140).print(table)


def draw(found: list[dict[str, float]], out: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4))
    for kind in KINDS:
        runs = [run for run in found if run["kind"] == kind]
        if runs:
            label = {"short": "short messages", "long": "texts of 200 words"}[kind]
            axes.loglog([r["rows"] for r in runs], [r["seconds"] for r in runs], "o-", label=label)
    axes.axhline(SECONDS, color="grey", linestyle="--", linewidth=1)
    axes.annotate("60 s", (axes.get_xlim()[0], SECONDS), va="bottom", color="grey")
    axes.set(xlabel="verdicts", ylabel="seconds to curate and split")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()
    figure.savefig(out / "dataset.svg", bbox_inches="tight")


if __name__ == "__main__":
    main()
