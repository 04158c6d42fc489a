"""A replica with a stable name is known to the event log by it, in every one of its groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import topics
from schemas.events import DatasetBuilt, RouteChanged
from shared.events.outbox import Outbox
from shared.service import Service
from shared.settings import ServiceSettings
from shared.storage.db import Database


@pytest.mark.parametrize("name", ["host-1", None])
async def test_every_consumer_joins_under_the_replicas_name(
    name: str | None, tmp_path: Path
) -> None:
    metadata = MetaData()

    async def on_dataset_built(tx: AsyncConnection, event: DatasetBuilt) -> None: ...
    async def on_route_changed(tx: AsyncConnection, event: RouteChanged) -> None: ...

    settings = ServiceSettings(
        database_url=f"sqlite+aiosqlite:///{tmp_path}/x.db",
        kafka_instance_id=name,
        keys_file=tmp_path / "keys.json",
    )
    service = Service(
        "trainer",
        settings,
        metadata,
        {topics.DATASET_BUILT: on_dataset_built, topics.ROUTE_CHANGED: on_route_changed},
        [],
        Database(settings.database_url),
        Outbox("trainer", metadata),
        parts=None,
    )
    assert [
        subscriber._connection_args["group_instance_id"]
        for subscriber in service.broker.subscribers
    ] == [name, name]
    await service.db.close()
