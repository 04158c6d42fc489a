"""The operator's tools on a real broker with real services: they are right when nothing is wrong, and find what a test breaks."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from faststream.kafka import KafkaRouter
from sqlalchemy import MetaData

from infra.local.databases import database_urls
from infra.local.home import Home
from infra.operations.books import open_books
from infra.operations.letters import Letter, Wanted, gather
from infra.operations.log import survey
from infra.operations.proof import Proof, prove
from infra.operations.reconcile import reconcile
from schemas.base import Event
from schemas.topics import SERVICES, dead_letter_topic
from services.dataset_builder.app import build as build_dataset_builder
from services.dataset_builder.settings import Settings as DatasetBuilderSettings
from services.review.app import build as build_review
from services.review.settings import Settings as ReviewSettings
from shared.db import Database
from shared.outbox import Outbox
from shared.service import Service
from shared.settings import ServiceSettings
from tests import factories
from tests.kafka import Broker, EmbeddedBroker

PATIENCE = 40.0


class System:
    """A router, a capture and a review that only say things; a real review and a real dataset-builder that listen."""

    def __init__(self, home: Path, broker: Broker) -> None:
        self.home, self.broker, self.urls = Home(home), broker, database_urls(Home(home), None)
        self.services: dict[str, Service] = {}
        self.listeners: tuple[str, ...] = ()

    def settings(self, kind: type[ServiceSettings], name: str, **more: object) -> ServiceSettings:
        return kind(kafka_bootstrap_servers=self.broker.servers, database_url=self.urls[name], keys_file=self.home.keys_file,
                    artifacts_url=f"file://{self.home.path}/artifacts", **more)  # fmt: skip

    def speaker(self, name: str) -> Service:
        metadata, settings = MetaData(), self.settings(ServiceSettings, name)
        return Service(
            name, settings, metadata, KafkaRouter(), [], Database(settings.database_url), Outbox(name, metadata)
        )

    async def say(self, name: str, *events: Event) -> None:
        service = self.services[name]
        async with service.db.transaction() as tx:
            await service.outbox.add(tx, *events)

    async def settled(self) -> None:
        """Every outbox is empty and every group is at the end."""

        async def still() -> bool:
            balance = await self.reconciled()
            return not any(account.pending for account in balance.accounts if account.consumer in self.listeners)

        await eventually(still)

    async def reconciled(self):
        async with open_books(self.urls) as books:
            return await reconcile(books, self.broker.servers)

    async def letters(self, **wanted) -> list[Letter]:
        async with open_books(self.urls) as books:
            seen = await asyncio.to_thread(
                survey, self.broker.servers, [dead_letter_topic(service) for service in SERVICES]
            )
            return await gather(books, self.broker.servers, Wanted(**wanted), seen)

    async def proven(self, service: str) -> Proof:
        return await prove(service, self.urls[service], self.broker.servers, self.home, lambda *_: None)

    def broken(self, service: str, statement: str, *values: object) -> int:
        with sqlite3.connect(self.home.path / f"{service}.db") as database:
            return database.execute(statement, values).rowcount


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running(folder: Path, *names: str) -> AsyncIterator[System]:
    home = folder / "home"
    home.mkdir()
    (home / "keys.json").write_text('{"keys": []}')
    with EmbeddedBroker(folder / "broker") as broker:
        system = System(home, broker)
        salt = Home(home).secret("review-salt")
        builders = {
            "review": lambda: build_review(system.settings(ReviewSettings, "review", salt=salt)),
            "dataset-builder": lambda: build_dataset_builder(
                system.settings(DatasetBuilderSettings, "dataset-builder")
            ),
        }
        system.listeners = names
        async with AsyncExitStack() as stack:
            for name in ("router", "capture", *names):
                service = system.services[name] = builders.get(name, lambda name=name: system.speaker(name))()
                await stack.enter_async_context(service.api.router.lifespan_context(service.api))
            yield system


async def test_a_first_look(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        await system.say("router", factories.route_changed())
        inferences = [factories.inference() for _ in range(50)]
        await system.say("router", *inferences)
        await system.say(
            "review", *[factories.review(inference_id=inference.inference_id) for inference in inferences[:20]]
        )
        await system.settled()
        balance = await system.reconciled()
        assert balance.holds
        proof = await system.proven("review")
        assert proof.proven
