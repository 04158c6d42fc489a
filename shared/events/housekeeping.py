"""Forgets, once an hour, sent events and digested ids that nobody will ask for again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, delete, exists

from schemas.topics import COMPACTED
from shared.clock import hourly, now
from shared.events.relay import Relay
from shared.events.tables import DEAD_LETTERED, HANDLED
from shared.events.takeover import letters_left, take_over
from shared.events.waiting import newest_of_each_key
from shared.storage import delete_in_chunks

# Longer than any topic keeps its events: one that came again after that would act again.
INBOX_KEEP = timedelta(days=30)


class Housekeeping:
    """Deletes what is too old. A dead letter stays until an operator replayed or dropped it."""

    def __init__(self, relay: Relay, outbox_keep_hours: float) -> None:
        self.relay = relay
        self.db = relay.db
        self.outbox = relay.outbox
        # At the start, and once more for what an old replica wrote while they were being replaced.
        self._takeovers_left = 2
        self.outbox_keep = timedelta(hours=outbox_keep_hours)

    async def run(self) -> None:
        """Run until cancelled."""
        await hourly(self.once)

    async def once(self) -> None:
        if self._takeovers_left:
            self._takeovers_left -= 1
            await self._take_over_letters()
        await self._forget_sent(now() - self.outbox_keep)
        await self._forget_digested(now() - INBOX_KEEP)

    async def _take_over_letters(self) -> None:
        async with self.db.read() as connection:
            left = await connection.run_sync(letters_left, self.outbox.service)
        if left:
            async with self.db.transaction(wake=False) as tx:
                await tx.run_sync(take_over, left)

    async def _forget_sent(self, before: datetime) -> None:
        """Drop sent events; a log that loses them later cannot be filled from here.

        Of a compacted topic the newest event of each key stays: it is the state.
        """
        table = self.outbox.table
        is_old = table.c.sent_at < before
        is_state = table.c.aggregatetype.in_(COMPACTED)
        await delete_in_chunks(self.db, table, is_old & ~is_state, table.c.sent_at)
        for topic in self.relay.topics:
            if topic in COMPACTED:
                of_topic = and_(table.c.sent_at.is_not(None), table.c.aggregatetype == topic)
                newest = newest_of_each_key(table, of_topic)
                async with self.db.transaction(wake=False) as tx:
                    superseded = and_(of_topic, is_old, table.c.seq.not_in(newest))
                    await tx.execute(delete(table).where(superseded))

    async def _forget_digested(self, before: datetime) -> None:
        inbox = self.outbox.tables.inbox
        letters = self.outbox.tables.dead_letters
        is_open = exists().where(
            inbox.c.topic == letters.c.topic,
            inbox.c.event_id == letters.c.event_id,
            inbox.c.outcome == DEAD_LETTERED,
        )
        is_done = (letters.c.failed_at < before) & ~is_open
        await delete_in_chunks(self.db, letters, is_done, letters.c.failed_at)
        is_old = (inbox.c.received_at < before) & (inbox.c.outcome == HANDLED)
        await delete_in_chunks(self.db, inbox, is_old, inbox.c.received_at)
