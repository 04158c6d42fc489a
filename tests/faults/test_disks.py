"""Row 11: no room on the disk, for artifacts and for databases. No half artifact is ever referred
to, and work goes on when there is room.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from schemas.base import BlobRef
from shared.storage.blobs import BlobStore
from tests.faults.evidence import Evidence
from tests.faults.life import Armed
from tests.faults.scenario import Outcome, run_scenario, seed_of_this_run
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import Broker

NewWorld = Callable[..., World]
Until = Callable[[Clients], Awaitable[object]]


async def without_room(
    world: World, services: tuple[str, ...], until: Until, **arranged: object
) -> Outcome:
    async def during(clients: Clients) -> None:
        for service in services:
            await world.stop(service, signal.SIGTERM)
            world.start(service, **arranged)
        await asyncio.sleep(12)
        await until(clients)
        for service in services:
            await world.stop(service, signal.SIGKILL)
            world.start(service)
        await world.until_ready(*services)

    async with world:
        return await run_scenario(world, seed_of_this_run(17), during, patience=120)


async def both_fired(clients: Clients) -> None:
    """However slow the machine is: a dataset was begun, then an adapter, and neither had room."""
    async with asyncio.timeout(120):
        while not all(
            (clients.world.folder / f"{service}.fired").exists()
            for service in ("dataset-builder", "trainer")
        ):
            await asyncio.sleep(0.5)


def referred_to(evidence: Evidence) -> list[BlobRef]:
    datasets = [row.body["blob"] for row in evidence.sent("dataset-built")]
    return [
        BlobRef(**blob)
        for blob in [
            *datasets,
            *(row.body["adapter"]["blob"] for row in evidence.sent("adapter-trained")),
        ]
    ]


def every_reference_is_whole(outcome: Outcome, world: World, into: Path) -> None:
    """Each is fetched as a consumer fetches it, which checks its digest."""
    store = BlobStore(f"file://{world.folder}/artifacts")
    references = referred_to(outcome.evidence)
    assert references, outcome.explain()
    for number, blob in enumerate(references):
        store.get_folder(blob, into / str(number))


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_no_room_for_artifacts(embedded: Broker, new_world: NewWorld, tmp_path: Path) -> None:
    """ENOSPC while a dataset and while an adapter is written, each of the first times; then the
    jobs go on by themselves.
    """
    world = new_world(embedded.servers)
    points = (Armed("blob.half-written", "error"), Armed("blob.before-promote", "error"))
    outcome = await without_room(world, ("dataset-builder", "trainer"), both_fired, armed=points)
    outcome.must_hold()
    every_reference_is_whole(outcome, world, tmp_path / "fetched")


@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_databases_without_room(embedded: Broker, new_world: NewWorld) -> None:
    """No file may grow beyond what the databases have: SQLite answers `disk is full`, clients hear
    503 and try again, consumers wait.
    """
    world = new_world(embedded.servers)
    outcome = await without_room(
        world,
        ("capture", "review", "dataset-builder"),
        lambda _: asyncio.sleep(0),
        file_limit=200_000,
    )
    outcome.must_hold()
    assert any(ran_out_of_room(world, service) for service in ("capture", "review")), (
        "nothing ever ran out of room"
    )


def ran_out_of_room(world: World, service: str) -> bool:
    return (
        "DatabaseUnavailable" in (said := (world.folder / f"{service}.log").read_text())
        or "the database did not answer" in said
    )
