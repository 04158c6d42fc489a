"""Rows 8 and 18: bursts, consumers that cannot keep up, answers that never arrive, batches that are
partly wrong, bombs.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from infra.topics import lag
from tests.faults.evidence import query
from tests.faults.proxy import Proxy
from tests.faults.scenario import run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
BURST = 1500
AT_ONCE = 100
FLAT = 96 << 20  # bytes that a process may grow by in a burst of that size, whatever it holds
MEASURED_EVERY = 10.0  # seconds between two looks at the lag (shared/events/health.py)
SLOW_SECONDS = 0.3


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def lag_metric(world: World, service: str) -> int:
    text = (await world.call(service, "/metrics")).text
    return round(
        sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("ratchet_consumer_lag{")
        )
    )


async def burst(clients: Clients, statuses: Counter[int]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        operation = clients.history.invoke("inference", f"burst-{number}")
        item = {
            "client_id": operation.name,
            "route": "support-triage",
            "input": f"question {number}",
            "answer": "refund",
            "metadata": {"case": operation.name},
        }
        async with gate:
            while operation.outcome != "ok":
                answer = await clients._post("capture", "/v1/inferences", {"inferences": [item]})
                statuses[answer.status_code if answer else 0] += 1
                if answer and answer.status_code == 202:
                    clients.history.ok(operation, answer.json()["inference_ids"][0])
                elif answer:
                    assert answer.status_code in (429, 503) and "retry-after" in answer.headers, (
                        answer.text
                    )
                    await asyncio.sleep(0.5)

    await asyncio.gather(*(one(number) for number in range(BURST)))


@pytest.mark.faults
@pytest.mark.timeout(500)
async def test_a_burst_and_a_consumer_that_is_slow(embedded: Broker, new_world: NewWorld) -> None:
    """Memory stays flat, the lag that is told is the lag there is, and what could not be taken in
    was refused in words.
    """
    statuses: Counter[int] = Counter()

    async def during(clients: Clients) -> None:
        await world.stop("review", signal.SIGKILL)
        world.start("review", slow=SLOW_SECONDS)
        await world.until_ready("review")
        before = {
            service: resident(world.pids[service]) for service in ("capture", "review", "evaluator")
        }
        await burst(clients, statuses)
        clients.stopping = True
        await asyncio.sleep(2 * MEASURED_EVERY)
        grown = {service: resident(world.pids[service]) - size for service, size in before.items()}
        assert max(grown.values()) < FLAT, grown
        there = sum((await asyncio.to_thread(lag, embedded.servers))["review"].values())
        told = await lag_metric(world, "review")
        print(
            f"burst: answers {dict(statuses)}, lag {there}, told {told}, grown by"
            f" { ({name: size >> 20 for name, size in grown.items()}) } MiB"
        )
        assert there > 0 and abs(there - told) <= MEASURED_EVERY / SLOW_SECONDS + 64, (
            "64: a batch is committed as a whole"
        )
        await world.stop("review", signal.SIGKILL)
        world.start("review")

    async with new_world(embedded.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(22), during, patience=180)
    outcome.must_hold()


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_answers_that_never_arrive(embedded: Broker, new_world: NewWorld) -> None:
    """Row 18: the client gives up, capture does not; sent again under the same ids it is the same
    inference.
    """

    async def during(clients: Clients) -> None:
        for number in range(20):
            await given_up_and_sent_again(clients, number)

    async def given_up_and_sent_again(clients: Clients, number: int) -> None:
        async with (
            Proxy("127.0.0.1", world.ports["capture"]) as proxy,
            httpx.AsyncClient(headers=world.client.headers, timeout=0.5, trust_env=False) as client,
        ):
            operation = clients.history.invoke("inference", f"given-up-{number}")
            item = {
                "client_id": operation.name,
                "route": "support-triage",
                "input": f"question {number}",
                "answer": "refund",
                "metadata": {"case": operation.name},
            }
            proxy.delay = 0.4  # each way
            with pytest.raises(httpx.TimeoutException):
                await client.post(
                    f"http://127.0.0.1:{proxy.port}/v1/inferences", json={"inferences": [item]}
                )
        for _ in range(3):
            again = await clients._captured([item], "inference")
            assert again == {operation.name: operation.given}

    async with new_world(embedded.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(23), during)
        (rows,) = await query(world.databases["capture"], "select count(*) as n from ledger")
    outcome.must_hold()
    assert rows[0]["n"] == len(
        [
            one
            for one in outcome.evidence.operations
            if one.kind in ("inference", "feedback") and one.given
        ]
    )


@pytest.mark.faults
@pytest.mark.timeout(200)
async def test_partly_wrong_batches_and_bombs(embedded: Broker, new_world: NewWorld) -> None:
    async def during(clients: Clients) -> None:
        good = [
            {
                "client_id": f"good-{number}",
                "route": "support-triage",
                "input": "x",
                "answer": "refund",
                "metadata": {"case": f"good-{number}"},
            }
            for number in range(3)
        ]
        batch = {
            "inferences": [good[0], {"nonsense": 1}, good[1], {**good[2], "answer": 7}, good[2]]
        }
        operations = [clients.history.invoke("inference", item["client_id"]) for item in good]
        first, second = [
            (await world.call("capture", "/v1/inferences", batch)).json() for _ in range(2)
        ]
        assert (first["accepted"], second["accepted"], second["duplicates"]) == (3, 0, 3)
        assert [rejected["index"] for rejected in first["rejected"]] == [1, 3]
        assert first["inference_ids"] == second["inference_ids"]
        for operation, given in zip(
            operations, [one for one in first["inference_ids"] if one], strict=True
        ):
            clients.history.ok(operation, given)
        await bombs()

    async def bombs() -> None:
        before = resident(world.pids["capture"])
        started = time.monotonic()
        unpacked = json.dumps(
            {"inferences": [{"route": "support-triage", "input": "x" * (200 << 20), "answer": ""}]}
        ).encode()
        for body in (gzip.compress(unpacked, 1), gzip.compress(b"[" * (100 << 20), 1)):
            url = f"{world.urls['capture']}/v1/inferences"
            headers = {"content-encoding": "gzip", "content-type": "application/json"}
            answer = await world.client.post(url, content=body, headers=headers)
            assert answer.status_code == 413, answer.text
        assert time.monotonic() - started < 30
        assert resident(world.pids["capture"]) - before < FLAT

    async with new_world(embedded.servers) as world:
        outcome = await run_scenario(world, seed_of_this_run(24), during)
    outcome.must_hold()
