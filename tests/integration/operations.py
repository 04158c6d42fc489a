"""A small system for the tests of the operator's tools: a broker, real services in this process,
and others that only say things.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData
from typer.testing import CliRunner, Result

from infra.cli.main import app
from infra.local.databases import database_urls
from infra.local.home import Home
from infra.operations.accounts import Account, Balance
from infra.operations.books import open_books
from infra.operations.letters import Letter, Wanted, gather
from infra.operations.reconcile import reconcile
from infra.operations.settling import Outcome, replay
from infra.operations.trace import trace
from schemas.base import Event, JsonObject
from shared.events.outbox import Outbox
from shared.service import Service
from shared.settings import ServiceSettings
from shared.storage.db import Database
from tests.kafka import Broker, EmbeddedBroker

PATIENCE = 60.0
NOWHERE = "http://127.0.0.1:9"


class NeverTrains:
    async def train(self, *_: object) -> None:
        await asyncio.Event().wait()


class System:
    """`listeners` are the services themselves; a router and a capture that are not among them only
    say things.
    """

    def __init__(self, home: Path, broker: Broker, listeners: tuple[str, ...]) -> None:
        self.home = Home(home)
        self.broker = broker
        self.urls = database_urls(Home(home), None)
        self.services: dict[str, Service] = {}
        self.listeners = listeners
        self.stops = dict[str, AsyncExitStack]()

    async def start(self, name: str) -> None:
        service = self.services[name] = (
            self.built(name) if name in self.listeners else self.speaker(name)
        )
        self.stops[name] = stack = AsyncExitStack()
        await stack.enter_async_context(service.api.router.lifespan_context(service.api))

    async def stop(self, name: str) -> None:
        await self.stops.pop(name).aclose()

    def built(self, name: str) -> Service:
        package = f"services.{name.replace('-', '_')}"
        home = self.home.path
        own = {
            "review": {"salt": self.home.secret("review-salt")},
            "trainer": {"base_model": "none", "work_dir": home / "trainer"},
            "evaluator": {"vllm_url": NOWHERE, "cache_dir": home / "evaluator"},
            "router": {"vllm_url": NOWHERE, "adapter_cache": home / "serving"},
        }
        settings = self.settings(
            importlib.import_module(f"{package}.settings").Settings, name, **own.get(name, {})
        )
        extra = {"executor": NeverTrains()} if name == "trainer" else {}
        return importlib.import_module(f"{package}.app").build(settings, **extra)

    def speaker(self, name: str) -> Service:
        metadata = MetaData()
        settings = self.settings(ServiceSettings, name)
        db = Database(settings.database_url)
        outbox = Outbox(name, metadata)
        return Service(name, settings, metadata, {}, [], db, outbox, parts=None)

    def settings(self, kind: type[ServiceSettings], name: str, **more: object) -> ServiceSettings:
        return kind(
            kafka_bootstrap_servers=self.broker.servers,
            database_url=self.urls[name],
            keys_file=self.home.keys_file,
            artifacts_url=f"file://{self.home.path}/artifacts",
            **more,
        )

    async def say(self, name: str, *events: Event) -> None:
        service = self.services[name]
        async with service.db.transaction() as tx:
            await service.outbox.add(tx, *events)

    async def settled(self) -> None:
        """Every outbox is empty, and the listeners have read all there is."""

        async def still() -> bool:
            balance = await self.reconciled()
            return not any(
                found.pending for found in balance.accounts if found.consumer in self.listeners
            )

        await eventually(still)

    async def reconciled(self) -> Balance:
        async with open_books(self.urls) as books:
            return await reconcile(books, self.broker.servers)

    async def traced(self, wanted: str) -> list[JsonObject]:
        async with open_books(self.urls) as books:
            return await trace(books, self.broker.servers, wanted, keep_hours=72)

    async def letters(self, **wanted: Any) -> list[Letter]:
        async with open_books(self.urls) as books:
            return await gather(books, Wanted(**wanted))

    async def replayed(self, letters: list[Letter]) -> list[Outcome]:
        async with open_books(self.urls) as books:
            return await replay(books, self.broker.servers, letters, seconds=PATIENCE)

    async def cli(self, *arguments: str) -> Result:
        """In a thread: each command runs an event loop of its own."""
        environment = {
            "RATCHET_HOME": str(self.home.path),
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.servers,
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)

    async def knows_stranger(self, event_id: str) -> bool:
        return (
            event_id in account(await self.reconciled(), "inference-recorded", "review").strangers
        )

    async def inference_of(self, event_id: str) -> str:
        ((payload,),) = self.rows("router", "select payload from outbox where id = ?", event_id)
        return json.loads(payload)["inference_id"]

    def broken(self, service: str, statement: str, *values: object) -> None:
        with sqlite3.connect(self.home.path / f"{service}.db", timeout=20) as database:
            database.execute(statement, values)

    def rows(self, service: str, statement: str, *values: object) -> list[tuple]:
        with sqlite3.connect(self.home.path / f"{service}.db", timeout=20) as database:
            return database.execute(statement, values).fetchall()


def account(balance: Balance, topic: str, consumer: str) -> Account:
    return next(
        found for found in balance.accounts if (found.topic, found.consumer) == (topic, consumer)
    )


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.2)


@asynccontextmanager
async def running(folder: Path, *listeners: str) -> AsyncIterator[System]:
    home = folder / "home"
    home.mkdir()
    (home / "keys.json").write_text('{"keys": []}')
    with EmbeddedBroker(folder / "broker") as broker:
        system = System(home, broker, listeners)
        try:
            for name in dict.fromkeys(("router", "capture", *listeners)):
                await system.start(name)
            yield system
        finally:
            for name in list(system.stops):
                await system.stop(name)
