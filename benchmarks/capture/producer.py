"""The bare aiokafka producer with the same content: what is left when nothing is parsed, redacted
or stored. An upper bound.

Runs in a process of its own, so that it can be pinned: python -m benchmarks.capture.producer
SERVERS INFERENCES RATE SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks.capture import broker, payloads
from benchmarks.capture.figures import Figures
from benchmarks.capture.load import Outcome
from benchmarks.capture.plan import Plan
from benchmarks.capture.processes import SERVER_CORE, Pinned, memory_mb
from schemas.topics import INFERENCE_RECORDED

TOPIC = INFERENCE_RECORDED.name
WINDOW = 5_000  # records on their way at once


async def measure(plan: Plan, folder: Path) -> Figures:
    with broker.running(folder / "broker") as servers:
        argv = [
            sys.executable,
            "-m",
            "benchmarks.capture.producer",
            servers,
            str(plan.inferences),
            str(plan.rate),
            str(plan.seconds),
        ]
        with Pinned("producer", argv, folder, SERVER_CORE) as child:
            await asyncio.to_thread(child.process.wait, 600)
            return Figures(**json.loads(child.log.read_text().splitlines()[-1]))


async def produce(servers: str, count: int, rate: float, seconds: float) -> Figures:
    figures = Figures(
        "bare aiokafka producer", "the same content; nothing parsed, redacted or stored"
    )
    async with AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, acks="all", linger_ms=2
    ) as producer:
        await flood(producer, contents(2_000))
        values = contents(count)
        outcome = Outcome()
        cpu = time.process_time()
        began = time.perf_counter()
        await flood(producer, values)
        outcome.seconds = time.perf_counter() - began
        figures.rates(count, outcome, outcome.seconds, time.process_time() - cpu)
        figures.answered_per_s = figures.generator_busy = None
        figures.latency(await steady(producer, contents(int(rate * seconds)), rate))
    figures.memory_mb = memory_mb()
    return figures


def contents(count: int) -> list[bytes]:
    return [
        json.dumps(payloads.as_json(exchange)).encode() for exchange in payloads.exchanges(count)
    ]


async def flood(producer: AIOKafkaProducer, values: list[bytes]) -> None:
    for start in range(0, len(values), WINDOW):
        await asyncio.gather(
            *[
                await producer.send(TOPIC, value, key=payloads.ROUTE.encode())
                for value in values[start : start + WINDOW]
            ]
        )


async def steady(producer: AIOKafkaProducer, values: list[bytes], rate: float) -> Outcome:
    outcome = Outcome()
    sending = []

    async def send(value: bytes, due: float) -> None:
        await producer.send_and_wait(TOPIC, value, key=payloads.ROUTE.encode())
        outcome.latencies.append(time.perf_counter() - due)

    began = time.perf_counter()
    for number, value in enumerate(values):
        due = began + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        sending.append(asyncio.create_task(send(value, due)))
    await asyncio.gather(*sending)
    return outcome


if __name__ == "__main__":
    servers, count, rate, seconds = sys.argv[1:]
    sys.stdout.write(
        json.dumps(uvloop.run(produce(servers, int(count), float(rate), float(seconds))).as_json())
        + "\n"
    )
