"""Five real services on a real event log, and requests that try the limits of every field."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import func, select

from schemas import topics
from services.capture.app import build as build_capture
from services.capture.settings import Settings as CaptureSettings
from services.dataset_builder.app import build as build_dataset_builder
from services.dataset_builder.settings import Settings as DatasetBuilderSettings
from services.evaluator.app import build as build_evaluator
from services.evaluator.settings import Settings as EvaluatorSettings
from services.review.app import build as build_review
from services.review.settings import Settings as ReviewSettings
from services.router.app import build as build_router
from services.router.settings import Settings as RouterSettings
from shared.service import Service
from tests import factories
from tests.unit.router.fakes import FakeVllm, served

FETCH_BYTES = 4 * 1024 * 1024
FREE = "acme/free-text"
# What a character may cost: one byte, up to four in UTF-8, six as an escape ...
ALPHABETS = ("a", "\x01", '"', "\\", "ä", "😀", "\u2028", "\x7f", "\n", "ada@example.com ")
# ... and what must not pass.
FORBIDDEN = ("\x00", "\ud800", "\udc00\ud800")
HOSTILE_SHARE = 0.06
Fuzz = Callable[[int], str]


def fuzzer(chance: random.Random) -> Fuzz:
    """Make what makes texts of up to a limit; a few are longer, or hold what cannot be stored."""

    def text(limit: int) -> str:
        hostile = chance.random() < HOSTILE_SHARE
        sizes = (0, limit + 1, 3 * limit) if hostile else (1, limit // 2, limit - 1, limit, limit)
        alphabet = chance.choice(ALPHABETS + (FORBIDDEN if hostile else ()))
        size = chance.choice(sizes)
        return (alphabet * (size // len(alphabet) + 1))[:size]

    return text


class Doors:
    """The services, and how to talk to them."""

    def __init__(
        self, services: dict[str, Service], urls: dict[str, str], http: httpx.AsyncClient
    ) -> None:
        self.services = services
        self.urls = urls
        self.http = http
        self.statuses: Counter[tuple[str, int]] = Counter()

    async def send(
        self, service: str, path: str, body: Any, method: str = "POST"
    ) -> httpx.Response:
        """Send JSON as bytes: half of a surrogate pair can only be written as an escape."""
        reply = await self.http.request(
            method,
            self.urls[service] + path,
            content=json.dumps(body).encode() if body is not None else None,
            headers={"content-type": "application/json"},
        )
        self.statuses[path.split("/")[2], reply.status_code] += 1
        assert reply.status_code < 500, (path, reply.text[:300])
        assert "EventTooLarge" not in reply.text, (path, reply.text[:300])
        return reply

    async def settle(self, servers: str) -> dict[str, list[dict[str, Any]]]:
        """Wait until everything is on the log and read by all; return the log by topic."""
        async with asyncio.timeout(360):
            while any([await one.relay.pending() for one in self.services.values()]):
                await asyncio.sleep(0.1)
            log = await whole_log(servers)
            for topic in topics.TOPICS:
                for consumer in set(topic.consumers) & set(self.services):
                    while await self.handled(consumer, topic.name) < len(log[topic.name]):
                        await asyncio.sleep(0.1)
        return log

    async def handled(self, service: str, topic: str) -> int:
        inbox = self.services[service].outbox.inbox
        return await self._count(service, select(func.count()).where(inbox.c.topic == topic))

    async def dead_letters(self) -> dict[str, list[str]]:
        found = {}
        for name, service in self.services.items():
            table = service.outbox.tables.dead_letters
            async with service.db.read() as connection:
                rows = await connection.execute(select(table.c.topic, table.c.error))
                found[name] = [f"{row.topic}: {row.error[:200]}" for row in rows]
        return found

    async def parked(self) -> dict[str, int]:
        return {
            name: await self._count(
                name, select(func.count()).where(service.outbox.table.c.parked_at.is_not(None))
            )
            for name, service in self.services.items()
        }

    async def _count(self, service: str, statement: Any) -> int:
        async with self.services[service].db.read() as connection:
            return (await connection.execute(statement)).scalar_one()


async def whole_log(servers: str) -> dict[str, list[dict[str, Any]]]:
    """Return all events by topic, each read by a consumer of its own."""
    return {topic.name: await whole_topic(servers, topic) for topic in topics.TOPICS}


async def whole_topic(servers: str, topic: topics.Topic) -> list[dict[str, Any]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        max_partition_fetch_bytes=FETCH_BYTES,
        auto_offset_reset="earliest",
    )
    events = []
    await consumer.start()
    try:
        parts = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        starts = await consumer.beginning_offsets(parts)
        for _ in range(sum(ends.values()) - sum(starts.values())):
            events.append(json.loads((await consumer.getone()).value))
    finally:
        await consumer.stop()
    return events


@asynccontextmanager
async def opened(
    servers: str,
    new_database: Callable[[str], str],
    keys: dict[str, str],
    folder: Path,
    answer: Any,
) -> AsyncIterator[Doors]:
    """Run the services; `answer` says what the engine answers."""

    def settings(kind: type, name: str, **own: Any) -> Any:
        common = {
            "database_url": new_database(name),
            "artifacts_url": f"file://{folder}/artifacts",
            "keys_file": keys["file"],
            "kafka_bootstrap_servers": servers,
        }
        return kind(**(common | own))

    async with AsyncExitStack() as stack:
        vllm = await stack.enter_async_context(served(FakeVllm(lambda _, __: (answer(), -0.2)).app))
        services: dict[str, Service] = {
            "router": build_router(
                settings(RouterSettings, "router", vllm_url=vllm, adapter_cache=folder / "serving")
            ),
            "capture": build_capture(settings(CaptureSettings, "capture")),
            "review": build_review(settings(ReviewSettings, "review")),
            "dataset-builder": build_dataset_builder(settings(DatasetBuilderSettings, "builder")),
            "evaluator": build_evaluator(
                settings(EvaluatorSettings, "evaluator", vllm_url=vllm, cache_dir=folder / "cache")
            ),
        }
        urls = {
            name: await stack.enter_async_context(served(service.api))
            for name, service in services.items()
        }
        http = await stack.enter_async_context(
            httpx.AsyncClient(headers={"authorization": f"Bearer {keys['acme']}"}, timeout=60)
        )
        yield Doors(services, urls, http)


def free_route() -> dict[str, Any]:
    """A route of which every answer is reviewed, and may be any text."""
    spec = factories.spec(
        name=FREE, task="conversation", labels=(), detailed_prompt="Talk.", review={"rate": 1.0}
    )
    return spec.model_dump(mode="json")
