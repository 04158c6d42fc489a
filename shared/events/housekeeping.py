"""Forgets, once an hour, sent events and digested ids that nobody will ask for again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from sqlalchemy import delete

from shared.clock import now
from shared.errors import Retryable
from shared.events.outbox import HANDLED
from shared.events.relay import Relay
from shared.telemetry import log

EVERY_SECONDS = 3600.0
INBOX_KEEP = timedelta(
    days=30
)  # longer than any topic keeps its events: one that came again after that would act again


class Housekeeping:
    def __init__(self, relay: Relay, outbox_keep_hours: float) -> None:
        self.relay = relay
        self.outbox_keep = timedelta(hours=outbox_keep_hours)

    async def run(self) -> None:
        """For ever."""
        await hourly(self.once)

    async def once(self) -> None:
        await self.relay.forget_sent(now() - self.outbox_keep)
        inbox = self.relay.outbox.inbox
        async with self.relay.db.transaction(
            wake=False
        ) as tx:  # a dead letter stays until an operator replayed or dropped it
            await tx.execute(
                delete(inbox).where(
                    inbox.c.received_at < now() - INBOX_KEEP, inbox.c.outcome == HANDLED
                )
            )


async def hourly(once: Callable[[], Awaitable[object]]) -> None:
    """For ever. What cannot be done now is tried again in an hour."""
    while True:
        try:
            await once()
        except Retryable as error:
            log("housekeeping").warning("put off", error=error.name)
        await asyncio.sleep(EVERY_SECONDS)
