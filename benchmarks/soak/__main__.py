"""python -m benchmarks.soak --rows 10000000       How long a write waits while a service whose
outbox and inbox are full tidies up. Needs some 15 GB of disk for each database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table as Printed

from benchmarks.soak.measure import Soak, measure
from shared.storage import Database
from tests.postgres import PostgresServer

# p99 of a write while housekeeping runs, ms.
BARS = {"sqlite": 50.0, "postgres": 20.0}


def main() -> None:
    arguments = parsed()
    found = []
    for name in arguments.databases:
        Console().print(f"{name}: {arguments.rows:,} rows (load {os.getloadavg()[0]:.1f}) ...")
        with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
            found.append(soaked(name, Path(folder), arguments))
    show(found)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        said = [asdict(soak) for soak in found]
        (arguments.out / "soak.json").write_text(json.dumps(said, indent=1) + "\n")
    if any(soak.during.p99 > BARS[soak.database] for soak in found):
        raise SystemExit("a bar was missed")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of outbox and inbox, each")
    parser.add_argument("--payload", type=int, default=200, help="bytes of an event")
    parser.add_argument("--seconds", type=float, default=120.0, help="of housekeeping, measured")
    parser.add_argument("--rate", type=float, default=50.0, help="writes a second")
    parser.add_argument("--databases", nargs="+", choices=BARS, default=list(BARS))
    parser.add_argument("--work", type=Path, help="where the databases are put while it runs")
    parser.add_argument("--out", type=Path, help="folder for soak.json")
    return parser.parse_args()


def soaked(name: str, folder: Path, arguments: argparse.Namespace) -> Soak:
    with url_of(name, folder) as url:

        async def run() -> Soak:
            db = Database(url)
            try:
                return await measure(name, db, arguments)
            finally:
                await db.close()

        return asyncio.run(run())


@contextmanager
def url_of(name: str, folder: Path) -> Iterator[str]:
    """Make an empty database; a Postgres server is ours and ends with us."""
    if name == "sqlite":
        yield f"sqlite+aiosqlite:///{folder}/soak.db"
        return
    with PostgresServer(folder, durable=True) as server:
        yield server.new_database()


def show(found: list[Soak]) -> None:
    table = Printed("database", "rows", "write p50", "p99", "worst", "deleted/s", "ready", "bar")
    for soak in found:
        for when, writes in (("before", soak.before), ("during", soak.during)):
            table.add_row(
                f"{soak.database}, {when}",
                f"{soak.rows:,}",
                f"{writes.p50:.1f} ms",
                f"{writes.p99:.1f} ms",
                f"{writes.worst:.1f} ms",
                f"{soak.deleted_a_second:,.0f}" if when == "during" else "",
                f"{soak.ready_ms:.1f} ms" if when == "before" else "",
                f"{BARS[soak.database]:.0f} ms" if when == "during" else "",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
