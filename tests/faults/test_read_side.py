"""Row 20: a service is started while the log does not let it read one of its topics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACLOperation
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from infra.topics import provision
from schemas import topics
from schemas.base import Event
from shared.events import Outbox
from shared.service import Service
from shared.settings import ServiceSettings
from shared.storage.db import Database
from tests import factories
from tests.faults.test_write_side import (
    FEEDBACK,
    SETTLE_SECONDS,
    GuardedKafka,
    delete_topic,
    denial,
    publishing,
)
from tests.faults.world import keys_file
from tests.integration.test_bus import eventually
from tests.kafka import apache_missing

SHUT = {"missing": "is missing", "forbidden": "allow it to read"}


READING = (ACLOperation.READ, ACLOperation.DESCRIBE)


def shut(servers: str, how: str) -> None:
    if how == "missing":
        delete_topic(servers, FEEDBACK)
    else:
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.create_acls([denial(operation, FEEDBACK) for operation in READING])
        admin.close()


def open_again(servers: str, how: str) -> None:
    if how == "missing":
        provision(servers)
    else:
        admin = KafkaAdminClient(bootstrap_servers=servers)
        admin.delete_acls([denial(operation, FEEDBACK) for operation in READING])
        admin.close()


class Reader:
    """A service named review that reads two topics, and the ids of what it has seen."""

    def __init__(self, servers: str, folder: Path) -> None:
        self.seen: set[str] = set()
        settings = ServiceSettings(
            kafka_bootstrap_servers=servers,
            database_url=f"sqlite+aiosqlite:///{folder}/review.db",
            keys_file=keys_file(folder),
        )
        metadata = MetaData()
        handlers = {topics.FEEDBACK_RECORDED: self.on_event, topics.DRIFT_DETECTED: self.on_event}
        db = Database(settings.database_url)
        outbox = Outbox("review", metadata)
        self.service = Service("review", settings, metadata, handlers, [], db, outbox, parts=None)

    async def on_event(self, _: AsyncConnection, event: Event) -> None:
        self.seen.add(event.event_id)

    async def saw(self, event_id: str) -> bool:
        return event_id in self.seen

    async def tells_that(self, because: str) -> bool:
        return because in (await self.service.ready())["topics_closed"].get(FEEDBACK, "")


@asynccontextmanager
async def reading(servers: str, folder: Path) -> AsyncIterator[Reader]:
    reader = Reader(servers, folder)
    async with reader.service.api.router.lifespan_context(reader.service.api):
        yield reader


@pytest.mark.faults
@pytest.mark.parametrize("how", SHUT)
async def test_a_topic_that_is_shut_keeps_no_other_from_being_read(
    tmp_path: Path, sqlite_db: Database, how: str
) -> None:
    if reason := apache_missing():
        pytest.skip(reason)
    with GuardedKafka(tmp_path / "own") as broker:
        servers = broker.servers
        await asyncio.to_thread(shut, servers, how)
        await asyncio.sleep(SETTLE_SECONDS)
        async with (
            publishing("evaluator", sqlite_db, servers) as evaluator,
            reading(servers, tmp_path) as reader,
        ):
            (drift,) = await evaluator.add(factories.drift())
            await eventually(lambda: reader.saw(drift))
            await eventually(lambda: reader.tells_that(SHUT[how]))
            assert not reader.service.consuming
            await asyncio.to_thread(open_again, servers, how)
            # its relay takes the rows of its own topics only, so the two share a database
            async with publishing("capture", sqlite_db, servers) as capture:
                (feedback,) = await capture.add(factories.feedback())
                await eventually(lambda: reader.saw(feedback))
            assert (await reader.service.ready())["topics_closed"] == {}
            assert reader.service.consuming
