"""python -m benchmarks.event_log compare --out results     the logs beside each other
python -m benchmarks.event_log resend --out results      the outbox fills a log that forgot

`compare` starts each log, fills it with events of 1 kB, kills it as `kill -9` does, starts it again
and counts. `resend` publishes a whole outbox, kills the log, and takes the time until the relay has
sent again what the log lost. Apache Kafka comes from `ratchet kafka install`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.event_log.compare import compare
from benchmarks.event_log.resend import resend


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.event_log",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=["compare", "resend"])
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON file")
    parser.add_argument("--events", type=int, help="100,000 to compare, 300,000 to send again")
    chosen = parser.parse_args()
    before = os.getloadavg()[0]
    if chosen.verb == "compare":
        rows = asyncio.run(compare(chosen.events or 100_000))
    else:
        rows = [asyncio.run(resend(chosen.events or 300_000))]
    show(chosen.verb, rows)
    chosen.out.mkdir(parents=True, exist_ok=True)
    report = {"cores": os.cpu_count(), "load_before": round(before, 1), "runs": rows}
    name = f"event-log-{chosen.verb}.json"
    (chosen.out / name).write_text(json.dumps(report, indent=1))


def show(title: str, rows: list[dict[str, object]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value}" for value in row.values()))
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
