"""Where a service is rebuilt: a database that nobody else knows of, filled by a child process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.home import Home
from infra.local.plan import ROOT, loopback_without_proxy, service_environment
from infra.operations.log import Span
from shared.errors import RatchetError
from shared.events import Partition
from shared.storage import Database


class RebuildFailed(RatchetError):
    def __init__(self, service: str, said: str) -> None:
        super().__init__(f"rebuilding {service} failed: {said.strip()[-600:] or 'it said nothing'}")


@dataclass(frozen=True)
class Scratch:
    """A database that nobody else knows of, and the child process that fills it."""

    service: str
    servers: str
    environment: Mapping[str, str]
    live: Database
    db: Database

    async def feed(self, spans: Mapping[Partition, Span], progress: Callable[[int], None]) -> int:
        order = {
            "service": self.service,
            "servers": self.servers,
            "spans": [(*at, span.begin, span.end) for at, span in spans.items() if len(span)],
            "live": self.live.engine.url.render_as_string(hide_password=False),
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "tests.faults.replay.rebuild",
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self.environment,
        )
        try:
            errors = asyncio.create_task(child.stderr.read())
            child.stdin.write(json.dumps(order).encode())
            child.stdin.close()
            fed = 0
            async for line in child.stdout:
                fed = json.loads(line)["fed"]
                progress(fed)
            if await child.wait():
                raise RebuildFailed(self.service, (await errors).decode(errors="replace"))
            return fed
        finally:
            if child.returncode is None:
                child.kill()


@asynccontextmanager
async def scratch_of(service: str, url: str, servers: str, home: Home) -> AsyncIterator[Scratch]:
    """Make a SQLite database that is removed at the end; Postgres compares with it by value."""
    with tempfile.TemporaryDirectory(prefix="ratchet-replay-") as folder:
        database = f"sqlite+aiosqlite:///{folder}/{service}.db"
        live = Database(url)
        scratch = Database(database)
        try:
            yield Scratch(
                service,
                servers,
                child_environment(service, home, Path(folder), servers, database),
                live,
                scratch,
            )
        finally:
            await live.close()
            await scratch.close()


def child_environment(
    service: str, home: Home, folder: Path, servers: str, database: str
) -> dict[str, str]:
    """Return the running service's environment, with another database and other folders.

    Review's salt stays, so that the sampling coin falls as it fell.
    """
    nowhere = dict.fromkeys(("broker", "vllm-serving", "vllm-evaluation"), "http://127.0.0.1:9") | {
        "broker": servers
    }
    own = service_environment(service, Home(folder), nowhere, database, 0, "none", "external") | {
        "PORT": "1",
        "KAFKA_INSTANCE_ID": "replay",
    }
    if service == "review":
        own["REVIEW_SALT"] = (
            home.secret("review-salt")
            if (home.path / "review-salt.secret").exists()
            else os.environ.get("REVIEW_SALT", "ratchet")
        )
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    return (
        dict(os.environ)
        | loopback_without_proxy(os.environ)
        | own
        | {
            "PYTHONPATH": paths,
            "PYTHONUNBUFFERED": "1",
        }
    )
