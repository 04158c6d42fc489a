"""Forgets, once an hour, sent events and digested ids that nobody will ask for again."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, exists

from shared.clock import hourly, now
from shared.events.relay import Relay
from shared.events.tables import DEAD_LETTERED, HANDLED
from shared.events.takeover import letters_left, take_over

# Longer than any topic keeps its events: one that came again after that would act again.
INBOX_KEEP = timedelta(days=30)


class Housekeeping:
    """Deletes what is too old. A dead letter stays until an operator replayed or dropped it."""

    def __init__(self, relay: Relay, outbox_keep_hours: float) -> None:
        self.relay = relay
        self.outbox_keep = timedelta(hours=outbox_keep_hours)

    async def run(self) -> None:
        """Run until cancelled."""
        await hourly(self.once)

    async def once(self) -> None:
        await self.relay.forget_sent(now() - self.outbox_keep)
        tables = self.relay.outbox.tables
        inbox = tables.inbox
        letters = tables.dead_letters
        before = now() - INBOX_KEEP
        is_open = exists().where(
            inbox.c.topic == letters.c.topic,
            inbox.c.event_id == letters.c.event_id,
            inbox.c.outcome == DEAD_LETTERED,
        )
        async with self.relay.db.read() as connection:
            left = await connection.run_sync(letters_left, self.relay.outbox.service)
        async with self.relay.db.transaction(wake=False) as tx:
            if left:
                await tx.run_sync(take_over, left)
            await tx.execute(delete(letters).where(letters.c.failed_at < before, ~is_open))
            await tx.execute(
                delete(inbox).where(inbox.c.received_at < before, inbox.c.outcome == HANDLED)
            )
