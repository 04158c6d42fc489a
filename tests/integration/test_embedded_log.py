"""The embedded event log's habits that our consumers must live with: it never waits, and it never
forgets a dead member.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from infra.local.broker import embedded
from infra.local.home import Home
from infra.local.ports import free_port
from shared import event_log
from shared.events.log_size import LogSize
from shared.events.seams import EMPTY_FETCH_SECONDS, open_seams

TOPIC = "feedback-recorded"
MEMBER = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer
async def main():
    servers = sys.argv[1]
    await AIOKafkaConsumer(
        sys.argv[2], bootstrap_servers=servers, group_id="g", group_instance_id="me"
    ).start()
    print("joined", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[str]:
    part = embedded(Home(tmp_path), free_port(), {})
    process = subprocess.Popen(part.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    async with asyncio.timeout(30):
        while not await part.probe():
            await asyncio.sleep(0.1)
    yield part.url
    process.terminate()
    process.wait(20)


async def test_an_idle_consumer_does_not_spin_and_an_event_still_comes_at_once(
    servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_seams()
    sent = []
    original = AIOKafkaClient.send

    async def counted(
        self: AIOKafkaClient, node: int, request: object, **options: object
    ) -> object:
        sent.append(type(request).__name__)
        return await original(self, node, request, **options)

    monkeypatch.setattr(AIOKafkaClient, "send", counted)
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=servers,
        group_id="g",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await consumer.start()
    await producer.start()
    try:
        sent.clear()
        await asyncio.sleep(2)
        assert (
            5
            < len([name for name in sent if name.startswith("Fetch")])
            <= 2 / EMPTY_FETCH_SECONDS + 5
        )
        started = time.monotonic()
        await producer.send_and_wait(TOPIC, b"{}", key=b"k")
        await asyncio.wait_for(consumer.getone(), 20)
        assert time.monotonic() - started < 3
    finally:
        await consumer.stop()
        await producer.stop()


async def test_a_killed_member_that_has_a_name_comes_back_at_once(servers: str) -> None:
    for _ in range(2):
        member = subprocess.Popen(
            [sys.executable, "-c", MEMBER, servers, TOPIC], stdout=subprocess.PIPE, text=True
        )
        try:
            assert (
                await asyncio.wait_for(asyncio.to_thread(member.stdout.readline), 20) == "joined\n"
            )
        finally:
            os.kill(member.pid, signal.SIGKILL)
            member.wait()


async def test_readiness_says_when_the_log_holds_too_much(
    servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "MOST_EMBEDDED", 2)
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    for _ in range(3):
        await producer.send_and_wait(TOPIC, b"{}")
    await producer.stop()
    size = LogSize(servers, event_log.EMBEDDED, "test")
    assert size.report() == {"event_log": "embedded"}
    async with asyncio.timeout(10):
        while "event_log_advice" not in size.report():
            await asyncio.sleep(0.05)
    assert "holds 3 events" in size.report()["event_log_advice"]


@pytest.mark.parametrize("kind", ["embedded", "external"])
async def test_a_log_that_is_away_holds_up_no_probe_and_a_foreign_one_is_never_asked(
    kind: str,
) -> None:
    size = LogSize("127.0.0.1:1", kind, "test")
    began = time.monotonic()
    assert size.report() == {"event_log": kind}
    await asyncio.sleep(0.5)
    assert size.report() == {"event_log": kind}
    assert time.monotonic() - began < 5
    assert (size._counting is not None) == (kind == "embedded")
