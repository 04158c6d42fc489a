"""Start, memory, writing while idle, and what is back after `kill -9`, of each log."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from infra.kafka import installed
from schemas.topics import INFERENCE_RECORDED
from tests.kafka import ApacheKafka, Broker, EmbeddedBroker

EVENT = os.urandom(500).hex().encode()
# From the last event to the kill; the embedded log writes its snapshots every two seconds.
SETTLE_SECONDS = 10.0
# What a home does when nobody asks anything.
IDLE_EVENTS_PER_SECOND = 10
Start = Callable[[Path], Broker]


def logs() -> dict[str, Start]:
    found: dict[str, Start] = {"embedded": EmbeddedBroker}
    if kafka := installed():
        plain = dataclasses.replace(kafka, archive=None)
        found[f"Apache Kafka {kafka.version}, without class data"] = lambda folder: ApacheKafka(
            folder, kafka=plain
        )
        found[f"Apache Kafka {kafka.version}, as installed"] = lambda folder: ApacheKafka(
            folder, kafka=kafka
        )
    return found


async def compare(events: int) -> list[dict[str, object]]:
    return [await measure(name, start, events) for name, start in logs().items()]


async def measure(name: str, start: Start, events: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as work:
        broker = start(Path(work) / "log")
        broker.prepare()
        began = time.monotonic()
        with broker:
            ready = time.monotonic() - began
            cpu = cpu_seconds(broker.process.pid)
            rate = await fill(broker.servers, events)
            written = await idle(broker)
            resident = resident_mb(broker.process.pid)
            broker.kill()
            began = time.monotonic()
            broker.start()
            back = time.monotonic() - began
            there = await held(broker.servers)
    sent = events + int(SETTLE_SECONDS * IDLE_EVENTS_PER_SECOND)
    return {
        "log": name,
        "s to start": round(ready, 1),
        "CPU s to start": round(cpu, 1),
        "events/s": round(rate),
        "MB resident": round(resident),
        "MB/s written when idle": round(written, 1),
        "s back after kill -9": round(back, 1),
        "events back": f"{there:,} of {sent:,}",
    }


async def fill(servers: str, events: int) -> float:
    began = time.monotonic()
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=5) as producer:
        for number in range(events):
            last = await producer.send(INFERENCE_RECORDED.name, EVENT, key=b"%d" % number)
        await producer.flush()
        await last
    return events / (time.monotonic() - began)


async def idle(broker: Broker) -> float:
    """Send a few events a second; return how many MB a second the log wrote to disk meanwhile."""
    before = written_bytes(broker.process.pid)
    async with AIOKafkaProducer(bootstrap_servers=broker.servers, acks="all") as producer:
        for number in range(int(SETTLE_SECONDS * IDLE_EVENTS_PER_SECOND)):
            await producer.send_and_wait(INFERENCE_RECORDED.name, EVENT, key=b"%d" % number)
            await asyncio.sleep(1 / IDLE_EVENTS_PER_SECOND)
    return (written_bytes(broker.process.pid) - before) / 1e6 / SETTLE_SECONDS


async def held(servers: str) -> int:
    every = [
        TopicPartition(INFERENCE_RECORDED.name, number)
        for number in range(INFERENCE_RECORDED.partitions)
    ]
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        ends = await consumer.end_offsets(every)
    return sum(ends.values())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    return field_of(Path(f"/proc/{pid}/status"), "VmRSS") / 1024


def written_bytes(pid: int) -> int:
    return field_of(Path(f"/proc/{pid}/io"), "write_bytes")


def field_of(file: Path, name: str) -> int:
    [line] = [line for line in file.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1])
