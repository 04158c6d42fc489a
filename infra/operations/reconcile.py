"""Looks for every kept event at every consumer, topic by topic, in streams (`ratchet reconcile`).

The order of reading is what makes it right while the system runs: the groups' offsets and the ends
of the log first, then the outboxes, then the inboxes. An event below a committed offset was in the
inbox before we looked there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select

from infra.operations.accounts import Account, Balance, OnLog, digest, is_unread
from infra.operations.books import Book, Books
from infra.operations.log import Survey, every_group, records, survey_if_there
from infra.operations.moments import born
from schemas.topics import TOPICS, Topic
from shared.clock import now, utc
from shared.events import INBOX_KEEP, Partition, event_id_of

Progress = Callable[[str, int], None]
"""Told what is being read, and how many rows or records were read since last time."""
STEP = 5000
MARKED_WITHIN = timedelta(minutes=1)


def silent(_: str, __: int) -> None:
    pass


async def reconcile(
    books: Books,
    servers: str | None,
    keep_hours: float = 72.0,
    read_log: bool = True,
    progress: Progress = silent,
) -> Balance:
    started = time.monotonic()
    seen = await survey_if_there(servers, [topic.name for topic in TOPICS], every_group())
    balance = Balance(absent=books.absent, keep_hours=keep_hours)
    window = now() - min(timedelta(hours=keep_hours), INBOX_KEEP)
    for topic in TOPICS:
        ledger = TopicLedger(topic, books, seen, window, progress)
        balance.doubled[topic.name] = await ledger.read_accepted()
        balance.accounts += [await ledger.account(service) for service in topic.consumers] or [
            ledger.unheard()
        ]
        if read_log and servers and seen:
            balance.log.append(await ledger.on_log(servers))
    balance.seconds = time.monotonic() - started
    return balance


class TopicLedger:
    """Compares what a topic's producers accepted to what consumers did and what the log holds."""

    def __init__(
        self, topic: Topic, books: Books, seen: Survey | None, window: datetime, progress: Progress
    ) -> None:
        self.topic = topic
        self.books = books
        self.seen = seen
        self.window = window
        self.progress = progress
        # What was sent later may stand behind the end that we surveyed.
        self.began = now() - MARKED_WITHIN
        self.spans = seen.of(topic.name) if seen else {}
        self.accepted: set[bytes] = set()
        self.unsent = 0

    async def read_accepted(self) -> list[str]:
        """Fill `accepted`, and return the ids that stand there twice."""
        doubled = []
        for producer in self.producers:
            table = producer.outbox
            counted = Counted(self.progress, f"{self.topic.name}: accepted by {producer.service}")
            rows = select(table.c.id, table.c.sent_at.is_(None).label("unsent")).where(
                table.c.aggregatetype == self.topic.name
            )
            async for row in producer.rows(rows):
                counted.one()
                self.unsent += bool(row.unsent)
                if (known := digest(row.id)) in self.accepted:
                    doubled.append(row.id)
                self.accepted.add(known)
            counted.done()
        return doubled

    def unheard(self) -> Account:
        """Account for a topic that no service consumes: published is all that is promised."""
        return Account(self.topic.name, "", accepted=len(self.accepted), unsent=self.unsent)

    async def account(self, service: str) -> Account:
        account = Account(self.topic.name, service, accepted=len(self.accepted))
        missing = self.accepted.copy()
        for book in self.books.of([service]):
            await self._read_inbox(book, account, missing)
        await self._place_missing(account, missing)
        return account

    async def _read_inbox(self, book: Book, account: Account, missing: set[bytes]) -> None:
        inbox = book.inbox
        counted = Counted(self.progress, f"{self.topic.name}: seen by {book.service}")
        rows = select(inbox.c.event_id, inbox.c.outcome, inbox.c.received_at).where(
            inbox.c.topic == self.topic.name
        )
        unknown = []
        async for row in book.rows(rows):
            counted.one()
            event_id = row.event_id
            if (known := digest(event_id)) in self.accepted:
                account.outcomes[row.outcome] = account.outcomes.get(row.outcome, 0) + 1
                missing.discard(known)
            elif (born(event_id) or utc(row.received_at)) < self.window:
                account.older += 1
            else:
                unknown.append(event_id)
        counted.done()
        late = await self._accepted_since(unknown)
        account.strangers = [event_id for event_id in unknown if event_id not in late]

    async def _accepted_since(self, event_ids: list[str]) -> set[str]:
        """Return those that an outbox holds by now: accepted after we had read it."""
        wanted = set(event_ids)
        found = set()
        for producer in self.producers if wanted else ():
            outbox = producer.outbox
            rows = select(outbox.c.id).where(outbox.c.aggregatetype == self.topic.name)
            async for row in producer.rows(rows):
                found |= wanted & {row.id}
        return found

    async def _place_missing(self, account: Account, missing: set[bytes]) -> None:
        """Tell which unseen events are on their way, which were replaced, and which are lost."""
        if not missing:
            return
        committed = (
            self.seen.committed.get(f"{account.consumer}.{self.topic.name}", {})
            if self.seen
            else {}
        )
        newest = {}
        left = []
        for producer in self.producers:
            table = producer.outbox
            rows = select(
                table.c.id,
                table.c.aggregateid,
                table.c.sent_at,
                table.c.log_partition,
                table.c.log_offset,
            )
            async for row in producer.rows(
                rows.where(table.c.aggregatetype == self.topic.name).order_by(table.c.seq)
            ):
                newest[row.aggregateid if self.topic.compacted else None] = row.id
                if digest(row.id) not in missing:
                    continue
                if row.sent_at is None:
                    account.unsent += 1
                elif is_unread(
                    row.log_partition, row.log_offset, self.spans, self.topic.name, committed
                ):
                    account.unread += 1
                else:
                    left.append((row.aggregateid, row.id))
        replaced = [
            event_id for key, event_id in left if self.topic.compacted and newest[key] != event_id
        ]
        account.superseded = len(replaced)
        gone = set(replaced)
        unaccounted = [event_id for _, event_id in left if event_id not in gone]
        account.lost, account.undecided = (unaccounted, 0) if self.seen else ([], len(unaccounted))

    async def on_log(self, servers: str) -> OnLog:
        found = OnLog(self.topic.name)
        there = set()
        counted = Counted(self.progress, f"{self.topic.name}: on the log")
        async for record in records(servers, self.spans):
            counted.one()
            event_id = event_id_of(record)
            known = digest(event_id)
            found.records += 1
            found.repeated += known in there
            if known not in self.accepted and known not in there:
                older = (
                    born(event_id)
                    or datetime.fromtimestamp(record.timestamp / 1000, self.window.tzinfo)
                ) < self.window
                found.older = found.older + older
                found.strangers = found.strangers + (not older)
            there.add(known)
        counted.done()
        found.vanished = await self._vanished(there)
        return found

    async def _vanished(self, there: set[bytes]) -> int:
        """Count what the log lost: missing, and taken neither by compaction nor by retention."""
        if self.topic.compacted or self.accepted <= there:
            return 0
        vanished = 0
        for producer in self.producers:
            table = producer.outbox
            rows = select(table.c.id, table.c.log_partition, table.c.log_offset).where(
                table.c.aggregatetype == self.topic.name,
                table.c.log_partition.is_not(None),
                table.c.sent_at < self.began,
            )
            async for row in producer.rows(rows):
                span = self.spans.get(Partition(self.topic.name, row.log_partition))
                vanished += (
                    span is not None
                    and row.log_offset >= span.begin
                    and digest(row.id) not in there
                )
        return vanished

    @property
    def producers(self) -> list[Book]:
        return self.books.of(self.topic.producers)


class Counted:
    """Counts rows, and reports them in steps: a report per row would cost more than reading it."""

    def __init__(self, progress: Progress, what: str) -> None:
        self.progress = progress
        self.what = what
        self.rows = 0
        progress(what, 0)

    def one(self) -> None:
        self.rows += 1
        if self.rows == STEP:
            self.done()

    def done(self) -> None:
        self.progress(self.what, self.rows)
        self.rows = 0
