"""A second replica of a service: another port and another name in the consumer groups, the same
database.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Any

from tests.faults.world import World
from tests.kafka import free_port

SLOW_STOP = 30.0  # seconds; Kubernetes is told to wait 45


@dataclass
class Replica:
    world: World
    service: str
    number: int
    pid: int = 0
    port: int = 0

    def start(self, **arranged: Any) -> Replica:
        self.port = self.port or free_port()
        own = {"port": self.port, "kafka_instance_id": f"faults-{self.service}-{self.number}"}
        self.pid = self.world.fork(self.world.life(self.service, settings=own, **arranged))
        return self

    async def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 200.0) -> int:
        asked = time.monotonic()
        self.world.zygote.signal(self.pid, number)
        status = await asyncio.wait_for(self.world.zygote.end_of(self.pid), seconds)
        if (took := time.monotonic() - asked) > SLOW_STOP:
            print(f"{self.service} took {took:.0f} s to stop")
        return status

    async def until_consuming(self, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not await self.world.ready_at(f"http://127.0.0.1:{self.port}"):
                await asyncio.sleep(0.1)
