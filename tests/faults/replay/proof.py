"""Rebuilds a service's state from the log in a scratch database, and compares the two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import MetaData, func, select

from infra.local.home import Home
from infra.operations.books import NoBooks, is_missing_file
from infra.operations.log import Span, Survey, survey
from schemas.base import JsonObject
from schemas.topics import consumed_by
from shared.errors import Conflict
from shared.events import HANDLED, Partition, event_tables
from shared.storage import Database
from tests.faults.replay.compare import Compared, compare, copy_table
from tests.faults.replay.derived import REBUILDS
from tests.faults.replay.scratch import Scratch, scratch_of

ROUNDS = 5
# Told how many events were fed, of how many.
Progress = Callable[[int, int], None]


class TooBusy(Conflict):
    def __init__(self, service: str) -> None:
        super().__init__(
            f"{service} goes on reading while we compare: stop the traffic or the service for a"
            " moment, then try again"
        )


@dataclass
class Proof:
    """What was compared, and which events were not fed.

    The log does not hold the `forgotten` any more, by topic: what came from them cannot be proven.
    The live service dead-lettered or dropped the `skipped`, so that they have no effect. It handled
    the `failed`, and would not now.
    """

    service: str
    events: int = 0
    seconds: float = 0.0
    tables: list[Compared] = field(default_factory=list)
    others: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[str, ...] = ()
    forgotten: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    failed: int = 0

    @property
    def equal(self) -> bool:
        return all(table.same for table in self.tables)

    @property
    def proven(self) -> bool:
        return self.equal and not self.forgotten and not self.failed

    def as_json(self) -> JsonObject:
        return {
            "service": self.service,
            "proven": self.proven,
            "equal": self.equal,
            "events": self.events,
            "seconds": round(self.seconds, 2),
            "tables": [table.as_json() for table in self.tables],
            "others": dict(self.others),
            "seeds": self.seeds,
            "forgotten": self.forgotten,
            "skipped": self.skipped,
            "failed": self.failed,
        }


async def prove(service: str, url: str, servers: str, home: Home, progress: Progress) -> Proof:
    """Feed what the live service has read until it stands still, then compare."""
    if is_missing_file(url):
        raise NoBooks([url])
    rule = REBUILDS[service]
    started = time.monotonic()
    proof = Proof(service, others=rule.others, seeds=rule.seeds)
    async with scratch_of(service, url, servers, home) as scratch:
        if rule.seeds:
            # Makes the tables.
            await scratch.feed({}, lambda _: None)
        for name in rule.seeds:
            await copy_table(scratch.live, scratch.db, name)
        read = await follow(scratch, proof, progress)
        proof.forgotten = forgotten(service, read)
        proof.skipped = await undone(scratch.live)
        proof.failed = await undone(scratch.db)
    proof.seconds = time.monotonic() - started
    return proof


async def follow(scratch: Scratch, proof: Proof, progress: Progress) -> dict[Partition, Span]:
    """Feed and compare until the live service has read nothing more meanwhile."""
    read: dict[Partition, Span] = {}
    for _ in range(ROUNDS):
        known = read
        read = await what_was_read(scratch.service, scratch.servers)
        more = {
            at: Span(known[at].end if at in known else span.begin, span.end)
            for at, span in read.items()
        }
        before = proof.events
        total = proof.events + sum(map(len, more.values()))
        proof.events += await scratch.feed(
            more, lambda fed, before=before, total=total: progress(before + fed, total)
        )
        proof.tables = [
            await compare(scratch.live, scratch.db, derived)
            for derived in REBUILDS[scratch.service].derived
        ]
        if await what_was_read(scratch.service, scratch.servers) == read:
            return read
    raise TooBusy(scratch.service)


async def what_was_read(service: str, servers: str) -> dict[Partition, Span]:
    """Return the log up to where the live service's groups committed: what it has digested."""
    topics = [topic.name for topic in consumed_by(service)]
    seen: Survey = await asyncio.to_thread(
        survey, servers, topics, [f"{service}.{topic}" for topic in topics]
    )
    return {
        at: Span(
            span.begin, min(span.end, seen.committed[f"{service}.{at.topic}"].get(at.number, 0))
        )
        for at, span in seen.spans.items()
    }


def forgotten(service: str, read: Mapping[Partition, Span]) -> dict[str, int]:
    """Count the events that the log holds no more, by topic.

    Compacted topics keep the newest of each key, which is all that such a table holds.
    """
    plain = {topic.name for topic in consumed_by(service) if not topic.compacted}
    counts: dict[str, int] = {}
    for at, span in read.items():
        if at.topic in plain and span.begin:
            counts[at.topic] = counts.get(at.topic, 0) + span.begin
    return counts


async def undone(db: Database) -> int:
    """Count the events that came and had no effect."""
    inbox = event_tables(MetaData()).inbox
    async with db.read() as connection:
        counted = select(func.count()).select_from(inbox).where(inbox.c.outcome != HANDLED)
        found: int = (await connection.execute(counted)).scalar_one()
        return found
