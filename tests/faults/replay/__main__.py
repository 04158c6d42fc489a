"""`python -m tests.faults.replay SERVICE`: print the proof, exit with 1 unless it holds.

It runs beside a local system, and only reads its databases and its log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from infra.cli.operations import database_urls, servers_of
from infra.local.home import Home
from schemas.topics import SERVICES
from tests.faults.replay.proof import prove


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.replay")
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("--home", type=Path, default=Path(".ratchet"))
    parser.add_argument("--servers", help="The event log; the running system's by default.")
    parser.add_argument("--database", help="The Postgres of the services; SQLite by default.")
    asked = parser.parse_args()
    proof = asyncio.run(
        prove(
            asked.service,
            database_urls(asked.home, asked.database)[asked.service],
            servers_of(asked.home, asked.servers),
            Home(asked.home),
            lambda fed, total: print(f"fed {fed} of {total}", file=sys.stderr),
        )
    )
    print(json.dumps(proof.as_json(), indent=1))
    sys.exit(not proof.proven)


if __name__ == "__main__":
    main()
