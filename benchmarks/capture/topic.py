"""Both doors of one capture in turn, over the same inferences: batches over HTTP, and a topic of
the app's own, whose records hold them in the app's own shape.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from aiokafka import AIOKafkaProducer

from benchmarks.capture import broker, load, payloads
from benchmarks.capture.figures import Figures
from benchmarks.capture.load import Outcome
from benchmarks.capture.plan import Plan
from benchmarks.capture.processes import Pinned
from benchmarks.capture.ratchet import known_route, requests, route, serving, settled, warm_up
from schemas.topics import INFERENCE_RECORDED

TOPIC = "bench.chat.completed"
MAPPING = f"""
topic: {TOPIC}
route: {payloads.ROUTE}
id: /meta/id
fields:
  input: /request/prompt
  answer: /response/choices/0/message/content
  model: /request/model
  latency_ms: /timing/ms
"""
# In a request. With 100, as the rest of this benchmark has, an item over HTTP costs 0.01 ms more.
ITEMS = 500


async def measure(plan: Plan, folder: Path) -> Figures:
    mapping = await asyncio.to_thread(write_mapping, folder)
    with (
        broker.running(folder / "broker") as servers,
        serving(servers, folder, {"CAPTURE_SOURCES": str(mapping)}) as (server, port, key),
    ):
        await broker.publish(servers, route())
        async with broker.watching(
            servers, INFERENCE_RECORDED.name, INFERENCE_RECORDED.partitions
        ) as published:
            await known_route(port, key)
            await warm_up(port, key, plan)
            await stream(servers, records(20 * plan.batch))
            await settled(published)
            return await in_turn(plan, Doors(servers, server, published, port, key))


def write_mapping(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mapping.yaml"
    file.write_text(MAPPING)
    return file


@dataclass(frozen=True)
class Doors:
    """One capture, and both ways into it."""

    servers: str
    server: Pinned
    published: broker.Growth
    port: int
    key: str

    async def spent(self, count: int, send: Awaitable[Outcome]) -> tuple[Outcome, float, float]:
        """Return what sending came to, and the seconds and CPU seconds until all is published."""
        there, cpu, began = (
            await self.published.records(),
            self.server.cpu_seconds(),
            perf_counter(),
        )
        outcome = await send
        await self.published.reaches(there + count)
        took = perf_counter() - began, self.server.cpu_seconds() - cpu
        await settled(self.published)
        return outcome, *took


async def in_turn(plan: Plan, doors: Doors) -> Figures:
    """Send a share over HTTP and as many to the topic, and so on: what else the machine does meets
    both.
    """
    figures = Figures(
        "topic of an app", f"up to 1,000 records at once; over HTTP {ITEMS} in a request"
    )
    count = plan.inferences // plan.turns
    sent, seconds, cpu, cpu_of_http = Outcome(), 0.0, 0.0, 0.0
    for _ in range(plan.turns):
        bodies = requests(payloads.ratchet_bodies(count, ITEMS), doors.key)
        _, _, spent = await doors.spent(
            count, load.closed_loop(doors.port, bodies, plan.connections)
        )
        cpu_of_http += spent
        outcome, took, spent = await doors.spent(count, stream(doors.servers, records(count)))
        sent.seconds += outcome.seconds
        seconds += took
        cpu += spent
    figures.rates(count * plan.turns, sent, seconds, cpu)
    figures.answered_per_s = figures.generator_busy = None
    figures.cpu_s_per_1000_of_http = cpu_of_http * 1000 / (count * plan.turns)
    figures.memory_mb = doors.server.memory_mb()
    return figures


def records(count: int) -> list[bytes]:
    return [json.dumps(as_record(exchange)).encode() for exchange in payloads.exchanges(count)]


def as_record(exchange: payloads.Exchange) -> dict[str, object]:
    """The same as an app that never heard of us would write it."""
    return {
        "meta": {"id": exchange.client_id},
        "request": {"prompt": exchange.question, "model": "gpt-5-mini"},
        "response": {"choices": [{"message": {"role": "assistant", "content": exchange.answer}}]},
        "timing": {"ms": exchange.latency_ms},
    }


async def stream(servers: str, values: Sequence[bytes]) -> Outcome:
    """Put them there as any program does."""
    outcome = Outcome()
    began = perf_counter()
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=2) as producer:
        for value in values:
            await producer.send(TOPIC, value)
        await producer.flush()
    outcome.seconds = perf_counter() - began
    return outcome
