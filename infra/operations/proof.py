"""`ratchet replay SERVICE`: its state rebuilt from the log in a scratch database, and held against the live one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.home import Home
from infra.local.plan import ROOT, loopback_without_proxy, service_environment
from infra.operations.books import NoBooks, is_missing_file
from infra.operations.compare import Compared, compare, copy_table
from infra.operations.derived import REBUILDS
from infra.operations.log import Span, Survey, survey
from schemas.topics import consumed_by
from shared.db import Database
from shared.errors import Conflict, RatchetError
from shared.log_guard import Partition
from shared.outbox import DEAD_LETTERED

ROUNDS = 5
Progress = Callable[[int, int], None]
"""Told how many events were fed, of how many."""


class TooBusy(Conflict):
    def __init__(self, service: str) -> None:
        super().__init__(
            f"{service} goes on reading while we compare: stop the traffic or the service for a moment, then try again"
        )


class RebuildFailed(RatchetError):
    def __init__(self, service: str, said: str) -> None:
        super().__init__(f"rebuilding {service} failed: {said.strip()[-600:] or 'it said nothing'}")


@dataclass
class Proof:
    """`forgotten`: events by topic that the log does not hold any more; what came from them cannot be proven."""

    service: str
    events: int = 0
    seconds: float = 0.0
    tables: list[Compared] = field(default_factory=list)
    others: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[str, ...] = ()
    forgotten: dict[str, int] = field(default_factory=dict)
    dead_letters: tuple[int, int] = (0, 0)

    @property
    def equal(self) -> bool:
        return all(table.same for table in self.tables)

    @property
    def proven(self) -> bool:
        return self.equal and not self.forgotten

    def as_json(self) -> dict[str, Any]:
        return {"service": self.service, "proven": self.proven, "equal": self.equal, "events": self.events, "seconds": round(self.seconds, 2),
                "tables": [table.as_json() for table in self.tables], "others": dict(self.others), "seeds": self.seeds,
                "forgotten": self.forgotten, "dead_letters": {"live": self.dead_letters[0], "rebuilt": self.dead_letters[1]}}  # fmt: skip


async def prove(service: str, url: str, servers: str, home: Home, progress: Progress) -> Proof:
    """Feeds what the live service has read, again and again until it stands still, then compares."""
    if is_missing_file(url):
        raise NoBooks([url])
    rule, loop = REBUILDS[service], asyncio.get_running_loop()
    proof, started = Proof(service, others=rule.others, seeds=rule.seeds), loop.time()
    async with scratch_of(service, url, servers, home) as scratch:
        if rule.seeds:
            await scratch.feed({}, lambda _: None)  # makes the tables
        for name in rule.seeds:
            await copy_table(scratch.live, scratch.db, name)
        read: dict[Partition, Span] = {}
        for _ in range(ROUNDS):
            now_read = await what_was_read(service, servers)
            more = {at: Span(read[at].end if at in read else span.begin, span.end) for at, span in now_read.items()}
            total = proof.events + sum(map(len, more.values()))
            proof.events += await scratch.feed(
                more, lambda fed, before=proof.events, of=total: progress(before + fed, of)
            )
            read = now_read
            proof.tables = [await compare(scratch.live, scratch.db, derived) for derived in rule.derived]
            if await what_was_read(service, servers) == read:
                break
        else:
            raise TooBusy(service)
        proof.forgotten = forgotten(service, read)
        proof.dead_letters = await dead_letters(scratch.live), await dead_letters(scratch.db)
    proof.seconds = loop.time() - started
    return proof


async def what_was_read(service: str, servers: str) -> dict[Partition, Span]:
    """Up to where the live service's groups committed: what it has digested for sure."""
    topics = [topic.name for topic in consumed_by(service)]
    seen: Survey = await asyncio.to_thread(survey, servers, topics, [f"{service}.{topic}" for topic in topics])
    return {
        at: Span(span.begin, min(span.end, seen.committed[f"{service}.{at.topic}"].get(at.number, 0)))
        for at, span in seen.spans.items()
    }


def forgotten(service: str, read: Mapping[Partition, Span]) -> dict[str, int]:
    """A compacted topic keeps the newest of each key, which is all that such a table holds."""
    plain = {topic.name for topic in consumed_by(service) if not topic.compacted}
    counts: dict[str, int] = {}
    for at, span in read.items():
        if at.topic in plain and span.begin:
            counts[at.topic] = counts.get(at.topic, 0) + span.begin
    return counts


async def dead_letters(db: Database) -> int:
    from sqlalchemy import column, func, select, table

    inbox = table("inbox", column("outcome"))
    async with db.read() as connection:
        return (
            await connection.execute(select(func.count()).select_from(inbox).where(inbox.c.outcome == DEAD_LETTERED))
        ).scalar_one()


@dataclass(frozen=True)
class Scratch:
    """A database of the same service that nobody else knows of, and the child process that fills it."""

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
        }
        child = await asyncio.create_subprocess_exec(sys.executable, "-P", "-m", "infra.operations.rebuild", stdin=PIPE, stdout=PIPE, stderr=PIPE,
                                                     env=self.environment)  # fmt: skip
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
    """SQLite in a folder that is removed at the end, also where the live database is Postgres: values are compared, not bytes."""
    with tempfile.TemporaryDirectory(prefix="ratchet-replay-") as folder:
        database = f"sqlite+aiosqlite:///{folder}/{service}.db"
        live, scratch = Database(url), Database(database)
        try:
            yield Scratch(
                service, servers, child_environment(service, home, Path(folder), servers, database), live, scratch
            )
        finally:
            await live.close()
            await scratch.close()


def child_environment(service: str, home: Home, folder: Path, servers: str, database: str) -> dict[str, str]:
    """As the running service's, but for the database and the folders that it writes to. The sampling coin must fall as it fell."""
    nowhere = dict.fromkeys(("broker", "vllm-serving", "vllm-evaluation"), "http://127.0.0.1:9") | {"broker": servers}
    own = service_environment(service, Home(folder), nowhere, database, 0, "none") | {
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
    return dict(os.environ) | loopback_without_proxy(os.environ) | own | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
