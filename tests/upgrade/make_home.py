"""Makes home-0.1.0.tar.xz: a home as release 0.1.0 (commit 4443978) left it. Run it with that code:

    git worktree add ../release 4443978 && cd ../release
    PYTHONPATH=$PWD python <this file> home-0.1.0.tar.xz

Six services worked for a while; then the event log was killed, so that rows are pending in their
outboxes. One event on feedback-recorded was poison: three services have a dead letter.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tarfile
import tempfile
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tests.faults import forking
from tests.faults.drain import drain
from tests.faults.forking import Zygote
from tests.faults.history import History
from tests.faults.workload import Clients
from tests.faults.world import World
from tests.kafka import EmbeddedBroker

WORKING_SECONDS = 25.0
AWAY_SECONDS = 3.0


async def make(folder: Path) -> None:
    broker = EmbeddedBroker(folder / "broker")
    with broker, Zygote(folder / "zygote.log") as zygote:
        async with World(folder / "home", broker.servers, zygote) as world:
            for settings in world.own_settings.values():
                settings["artifacts_url"] = "file://home/artifacts"  # found from any folder
            history = History(world.folder / "history.jsonl")
            clients = Clients(world, history, seed=1, pause=0.3)
            await world.start_all()
            await clients.begin()
            await poison(broker.servers)
            working = asyncio.create_task(clients.run())
            await asyncio.sleep(WORKING_SECONDS)
            clients.stopping = True
            await working
            print("left", await drain(world))
            await asyncio.sleep(3)  # the log writes what it holds every two seconds
            broker.kill()
            await more(clients)
            for service in list(world.pids):
                await world.stop(service, signal.SIGTERM)
            print(history.counts())


async def more(clients: Clients) -> None:
    """Work that is accepted while the log is away."""
    clients.stopping = False
    rng = random.Random(2)
    for turn in range(900_000, 900_006):
        await clients.app(rng, turn)
        await clients.asker(rng, turn)
    clients.stopping = True


async def poison(servers: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(
            "feedback-recorded", b'{"no": "event"}', key=b"k", headers=[("id", b"poison-1")]
        )


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    folder = Path(tempfile.mkdtemp(prefix="home-"))
    os.chdir(folder)
    forking.ROOT = folder  # where the services run: artifacts are named from there
    asyncio.run(make(folder))
    for name in ("zygote.log", "broker/broker.log"):
        (folder / name).unlink(missing_ok=True)
    for log in (folder / "home").glob("*.log"):
        log.unlink()
    for partial in (folder / "home").glob("*.fired"):
        partial.unlink()
    with tarfile.open(target, "w:xz") as archive:
        archive.add(folder / "home", "home")
        archive.add(folder / "broker", "broker")
    shutil.rmtree(folder)
    print(target, target.stat().st_size)


if __name__ == "__main__":
    main()
