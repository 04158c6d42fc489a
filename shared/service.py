"""How a service is put together and run: database, outbox relay, broker, background workers, HTTP,
in one process.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import uvicorn
from fastapi import APIRouter, FastAPI
from sqlalchemy import MetaData, select

from schemas.base import JsonObject, uuid7
from shared.describing import describe
from shared.errors import Retryable
from shared.events import (
    GRACEFUL_SECONDS,
    ConsumerGuard,
    Handlers,
    Health,
    Housekeeping,
    KafkaLogReader,
    KafkaSender,
    LogSize,
    Outbox,
    Reading,
    Relay,
    Sender,
    Taker,
    lease_table,
    make_broker,
    subscribe,
)
from shared.http import connection_class, create_api
from shared.settings import ServiceSettings
from shared.storage import Database, Migrations
from shared.telemetry import BROKER_UP, configure_logging, log, print_no_values
from shared.workers import SharingServer, Supervisor, WorkerProcess

Worker = Callable[[], Coroutine[Any, Any, None]]
REQUEST_SECONDS = 10  # what open requests get when the service is told to stop
# Handlers, then consumers; with the 10 above and CLOSE_SECONDS of the producer within the pod's 45.
STOP_SECONDS = GRACEFUL_SECONDS + 2
NOT_STARTED = 3  # uvicorn's own status of it
OBJECTS_BETWEEN_LOOKS = 20_000
CANCEL_TIMES, CANCEL_SECONDS = 3, 5.0

Parts = TypeVar("Parts")
SettingsOf = TypeVar("SettingsOf", bound=ServiceSettings)


@dataclass
class Service(Generic[Parts]):
    """One of the six, put together but not yet running.

    `handlers` says what happens with each topic, `http` what is served, `workers` what runs for as
    long as the service does. `parts` are what its composition root made, for tests and tools.
    """

    name: str
    settings: ServiceSettings
    metadata: MetaData
    handlers: Handlers
    http: Sequence[APIRouter]
    db: Database
    outbox: Outbox
    parts: Parts
    workers: Sequence[Worker] = ()
    takers: Sequence[Taker] = ()  # of records on the topics of apps
    sender: Sender | None = None
    report: Callable[[], JsonObject] | None = None  # what `/health/ready` says of this one alone
    on_stop: Sequence[Worker] = ()  # clients to close
    migrations: Path | None = None  # None: its tables are made as `metadata` says

    def __post_init__(self) -> None:
        instance = self.settings.kafka_instance_id
        servers = self.settings.kafka_bootstrap_servers
        reader = KafkaLogReader(servers, self.name)
        self.log_size = LogSize(servers, self.settings.kafka_kind, self.name)
        guard = ConsumerGuard(self.db, self.outbox, reader)
        self.broker = make_broker(self.settings, self.name)
        consumers = subscribe(
            self.broker, self.handlers, self.takers, self.db, self.outbox, guard, instance
        )
        self.outbox.backlog.most = self.settings.outbox_budget_bytes
        self.relay = Relay(
            self.db,
            self.outbox,
            self.sender or KafkaSender(servers, self.name),
            reader,
            lease_table(self.metadata),
            instance or uuid7(),
        )
        self.health = Health(self.broker, guard, consumers, self.relay)
        self.housekeeping = Housekeeping(self.relay, self.settings.outbox_keep_hours)
        self.reading = Reading(self.broker, self.name)
        worker = WorkerProcess.here()
        # Of several processes the first reads and publishes for all.
        self.only_serves = worker is not None and worker.number > 0
        self.consuming = self.only_serves  # every topic
        self.alone = False  # whether nothing else runs in this process
        self.api = create_api(
            self.name,
            self.settings,
            list(self.http),
            self.ready,
            self.health.trouble,
            self._lifespan,
        )

    async def ready(self) -> JsonObject:
        async with self.db.read() as connection:
            await connection.execute(select(1))
        outbox = await self.relay.state()
        common = {
            "service": self.name,
            "database": "up",
            "consuming": self.consuming,
            "outbox_pending": outbox.pending,
            "outbox_oldest_seconds": round(outbox.oldest_seconds, 1),
            "outbox_parked": outbox.parked,
            "topics_closed": self.reading.closed | outbox.closed,
            "paused": self.health.paused(),
        }
        common |= self.log_size.report()
        return common | (self.report() if self.report else {})

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        await self.prepare_database()
        events: list[Worker] = [self.relay.run, self.health.watch, self.housekeeping.run]
        loops = [
            self._settle if self.only_serves else self._consume,
            *([] if self.only_serves else events),
            *self.workers,
        ]
        tasks = [
            asyncio.create_task(loop(), name=getattr(loop, "__qualname__", "worker"))
            for loop in loops
        ]
        for task in tasks:
            task.add_done_callback(self._complain)
        try:
            yield
        finally:
            await self._stop_consuming(tasks[0])
            await end(tasks)
            for stop in self.on_stop:
                await stop()
            with suppress(Retryable):
                await self.relay.stop()
            await self.db.close()

    async def prepare_database(self) -> None:
        if self.migrations:
            await Migrations(self.migrations).upgrade(self.db)
        else:
            await self.db.create_tables(self.metadata)

    async def _consume(self) -> None:
        """Start the consumers; until each is there the service goes on with what it has."""
        await self.reading.begin()
        self.consuming = True
        BROKER_UP.set(1)
        await self._settle()
        await self.reading.begin_others()

    async def _settle(self) -> None:
        """Say that all is there, and that it will stay."""
        if self.alone:
            keep_what_is_here()
        log(self.name).info("ready", port=self.settings.port)

    async def _stop_consuming(self, start: asyncio.Task[None]) -> None:
        """aiokafka waits for answers, each up to 40 s: of a log that is silent, of a group whose
        leader was killed.
        """
        await end([start])  # else it would start consumers behind our back
        stopping = asyncio.create_task(self.broker.stop(), name="stop consumers")
        await asyncio.wait({stopping}, timeout=STOP_SECONDS)
        await end([stopping])
        if not stopping.done() or stopping.cancelled() or stopping.exception():
            log(self.name).warning("consumers left behind; what they did not commit comes again")

    def run(self) -> None:
        self.alone = True
        configure_logging(self.settings.log_level, self.settings.log_format)
        worker = WorkerProcess.here()
        config = uvicorn.Config(
            self.api,
            http=connection_class(self.settings),
            ws="none",
            host=self.settings.host,
            port=self.settings.port,
            log_config=None,
            access_log=False,
            timeout_keep_alive=self.settings.keep_alive_seconds,
            timeout_graceful_shutdown=REQUEST_SECONDS,
            server_header=False,
        )
        server = SharingServer(config, worker.listening()) if worker else uvicorn.Server(config)
        with suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            sys.exit(NOT_STARTED)

    def _complain(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self.health.dead_loops.append(task.get_name())
            log(self.name).error(
                "a background loop died",
                loop=task.get_name(),
                error=describe(error),
                exc_info=error,
            )


def run_service(build: Callable[[SettingsOf], Service[Any]], settings: type[SettingsOf]) -> None:
    """Run a service with the settings of the environment, until it is told to stop."""
    print_no_values()
    chosen = settings()
    if chosen.workers > 1 and WorkerProcess.here() is None:
        configure_logging(chosen.log_level, chosen.log_format)
        module = f"services.{settings.__module__.split('.')[1]}"
        sys.exit(Supervisor(module, chosen.workers, chosen.host, chosen.port).run())
    build(chosen).run()


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended; again, where one went on all the same.

    A cancellation can get lost: `asyncio.wait_for` of Python 3.11 swallows one that meets its
    result, and so do libraries that cancel tasks of their own and wait for them.
    """
    going = {task for task in tasks if not task.done()}
    for _ in range(CANCEL_TIMES):
        for task in going:
            task.cancel()
        if going:
            _, going = await asyncio.wait(going, timeout=CANCEL_SECONDS)
    if going:
        names = sorted(task.get_name() for task in going)
        log("service").error("tasks go on after they were cancelled", tasks=names)


def keep_what_is_here() -> None:
    """Tell the garbage collector to leave what a service is made of alone.

    It lives as long as the process; looking for garbage in it stopped every request for 75 ms on a
    busy machine. And it looks less often: a request of the router makes hundreds of objects and no
    cycle, and looking at every 700th cost 42 of 400 us a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, *gc.get_threshold()[1:])
