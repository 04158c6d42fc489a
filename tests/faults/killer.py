"""Kills every service again and again while all of them work, each time at the next seeded point or
moment, and starts it again.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from schemas.topics import SERVICES
from shared.failpoints import POINTS
from tests.faults.drain import WITH_JOBS
from tests.faults.life import Armed
from tests.faults.world import PATIENCE, World

# seconds at work: a point that was not reached by then is not waited for
LONGEST_WAIT = 4.0
LIVES = (0.3, 2.0)  # seconds, where no point is chosen
# seconds between two series of deaths; a build takes some
REST = (0.5, 2.0)
REST_WITH_JOBS = (2.0, 6.0)
AT_ONCE = 5  # of six services: while all of them die, nothing happens that a kill could interrupt
AT_A_MOMENT = "any moment"
NOTHING_PLANNED = "nothing planned"
RARE = tuple(point for point in POINTS if point.startswith(("job.", "blob.")))
COMMON = tuple(point for point in POINTS if point not in RARE and not point.startswith("request."))


@dataclass
class Toll:
    """How often each service was ended at each point."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    early: list[str] = field(default_factory=list)  # ends that nobody planned

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    @property
    def at_points(self) -> int:
        unplanned = (AT_A_MOMENT, NOTHING_PLANNED)
        return sum(n for (_, point), n in self.kills.items() if point not in unplanned)


class Killer:
    """One seed gives the same plan; what the machine makes of it differs from run to run."""

    def __init__(self, world: World, seed: int, kills: int) -> None:
        self.world = world
        self.seed = seed
        self.left = kills
        self.toll = Toll()
        self._dying = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Ends when the last planned kill happened and every service is up again, with nothing
        armed.
        """
        await asyncio.gather(*(self._haunt(service) for service in SERVICES))
        await self.world.until_ready(*SERVICES)

    async def _haunt(self, service: str) -> None:
        rng = random.Random(f"{self.seed}/{service}")
        while self.left > 0:
            async with self._dying:
                await self.world.stop(service, signal.SIGKILL)
                while self.left > 0 and rng.random() < 0.8:
                    self.left -= 1
                    await self._one_life(service, rng)
                self.world.start(service)
            await asyncio.sleep(rng.uniform(*(REST_WITH_JOBS if service in WITH_JOBS else REST)))

    async def _one_life(self, service: str, rng: random.Random) -> None:
        armed = self._arm(service, rng)
        pid = self.world.start(service, armed=armed)
        born = time.monotonic()
        ends = asyncio.create_task(self.world.zygote.end_of(pid))
        if armed:
            await self._at_work(service, ends)
        try:
            status = await asyncio.wait_for(ends, LONGEST_WAIT if armed else rng.uniform(*LIVES))
            point = fired(self.world.folder / f"{service}.fired", pid)
            if status != -signal.SIGKILL or point is None:
                self.toll.early.append(
                    f"{service} ended with {status} after {time.monotonic() - born:.2f} s, at"
                    f" {point}"
                )
        except TimeoutError:
            point = AT_A_MOMENT
            await self.world.stop(service, signal.SIGKILL)
        self.toll.kills[service, point or NOTHING_PLANNED] += 1

    async def _at_work(self, service: str, ends: asyncio.Task[int]) -> None:
        """Return once a service is ready or has ended. On a slow machine a start takes longer than
        the wait for a point: of 300 kills 8 came at one.
        """
        async with asyncio.timeout(PATIENCE):
            while not ends.done() and not await self.world.ready(service):
                await asyncio.sleep(0.1)

    def _arm(self, service: str, rng: random.Random) -> tuple[Armed, ...]:
        """Nothing, for a kill at any moment; or a point where this service died seldom, for those
        that have jobs often one of the jobs'.
        """
        if rng.random() < 0.15:
            return ()

        def least(points: Sequence[str]) -> str:
            return min(points, key=lambda point: (self.toll.kills[service, point], rng.random()))

        common = least(COMMON)
        chosen = common if rng.random() < 0.5 else rng.choice(COMMON)
        if service in WITH_JOBS and rng.random() < 0.5:  # alone: any other point is reached sooner
            chosen = least(RARE)
        return (Armed(chosen, "kill", nth(chosen, rng)),)


def nth(point: str, rng: random.Random) -> int:
    """A start commits a few times, and dying there every time would let nothing happen."""
    return (
        rng.randint(1, 12)
        if point.startswith("commit.")
        else 1
        if point in RARE
        else rng.randint(1, 3)
    )


def fired(path: Path, pid: int) -> str | None:
    """The failpoint that ended this process, as it noted itself."""
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.split(" ", 1)[1] for line in reversed(lines) if line.startswith(f"{pid} ")), None
    )
