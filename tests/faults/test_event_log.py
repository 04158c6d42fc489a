"""Row 3: the event log is killed, restarted, away when everybody starts, or half-open: it answers
the handshake and nothing more.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from schemas.topics import SERVICES
from tests.faults.proxy import Proxy
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import KINDS, Broker, EmbeddedBroker, apache_missing

NewWorld = Callable[..., World]


@pytest.mark.faults
@pytest.mark.timeout(400)
@pytest.mark.parametrize("times", [1, 3])
async def test_a_broker_that_is_killed(broker: Broker, new_world: NewWorld, times: int) -> None:
    """Apache Kafka comes back with what it had on disk, the embedded log with nothing."""

    async def during(_: Clients) -> None:
        for _ in range(times):
            await asyncio.sleep(4)
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(broker.start)
        await asyncio.sleep(6)

    async with new_world(broker.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(10), during, patience=150)
    # What a log had acknowledged and lost comes again, and may come behind a newer event of its key
    # that was on its way (1 of 2,560, in one of five runs).
    forgets = isinstance(broker, EmbeddedBroker)
    outcome.must_hold(apart_from={"disordered"} if forgets else ())


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_a_broker_that_is_half_open(broker: Broker, new_world: NewWorld) -> None:
    """Through a proxy that swallows everything for a while: nobody is told that the connection is
    of no use.
    """

    async def during(_: Clients) -> None:
        await asyncio.sleep(3)
        proxy.silent = True
        await asyncio.sleep(20)
        proxy.silent = False
        await asyncio.sleep(2)
        proxy.cut()
        proxy.delay = 0.05
        await asyncio.sleep(4)
        proxy.delay = 0.0

    async with Proxy("127.0.0.1", broker.port) as proxy, new_world(broker.servers) as world:
        world.options = {"detours": {str(broker.port): proxy.port}}
        outcome = await run_scenario(world, seed_of_this_run(11), during, patience=150)
        assert proxy.accepted > len(SERVICES)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(400)
async def test_a_broker_whose_process_is_stopped(broker: Broker, new_world: NewWorld) -> None:
    """SIGSTOP: the kernel goes on accepting connections for it."""

    async def during(_: Clients) -> None:
        await asyncio.sleep(3)
        broker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(15)
        broker.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(5)

    async with new_world(broker.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(12), during, patience=150)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", list(KINDS))
async def test_a_broker_that_is_away_at_the_start(
    kind: str, tmp_path: Path, new_world: NewWorld
) -> None:
    """Services start without it, and answer what they can; it comes 20 s later and they find it
    without hands.
    """
    if kind == "apache" and (reason := apache_missing()):
        pytest.skip(reason)
    late = KINDS[kind](tmp_path / "broker")
    async with new_world(late.servers) as world:
        for service in SERVICES:
            world.start(service)
        await asyncio.sleep(20)
        assert all(
            [(await world.call(service, "/health/live")).status_code == 200 for service in SERVICES]
        )
        try:
            await asyncio.to_thread(late.start)
            await world.until_ready(*SERVICES)
            outcome = await run_scenario(
                world, seed_of_this_run(13), lambda _: asyncio.sleep(4), patience=90
            )
        finally:
            await asyncio.to_thread(late.stop)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_full_disk_budget(embedded: Broker, new_world: NewWorld) -> None:
    """While the log is away capture accepts what its disk budget holds, then says so; what it
    accepted arrives later.
    """
    statuses: Counter[int] = Counter()

    async def during(clients: Clients) -> None:
        await asyncio.to_thread(embedded.kill)
        started = time.monotonic()
        for number in count():
            text = f"question {number} " + "words " * 200
            item = {
                "client_id": f"spooled-{number}",
                "route": "support-triage",
                "input": text,
                "answer": "refund",
                "metadata": {"case": f"spooled-{number}"},
            }
            operation = clients.history.invoke("inference", item["client_id"])
            answer = await clients._post("capture", "/v1/inferences", {"inferences": [item]})
            statuses[answer.status_code if answer else 0] += 1
            if answer and answer.status_code == 202:
                clients.history.ok(operation, answer.json()["inference_ids"][0])
            elif answer and answer.status_code == 503:
                assert int(answer.headers["retry-after"]) > 0
                if statuses[503] > 5:
                    break
            assert time.monotonic() - started < 60, statuses
        await asyncio.to_thread(embedded.start)
        await asyncio.sleep(3)

    async with new_world(embedded.servers) as world:
        world.own_settings["capture"]["outbox_budget_bytes"] = 300_000
        outcome = await run_scenario(world, seed_of_this_run(25), during, patience=120)
    outcome.must_hold()
    assert statuses[202] > 20, statuses
    print(f"while the log was away: {dict(statuses)}")
