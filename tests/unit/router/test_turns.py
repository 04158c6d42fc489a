"""Places at the engine are few, and no tenant takes those of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from services.router.turns import TenantBusy, Turns, WaitedTooLong


@asynccontextmanager
async def turn(turns: Turns, tenant: str) -> AsyncIterator[None]:
    await turns.take(tenant)
    try:
        yield
    finally:
        turns.leave(tenant)


async def hold(turns: Turns, tenant: str, seen: list[str], until: asyncio.Event) -> None:
    async with turn(turns, tenant):
        seen.append(tenant)
        await until.wait()


async def started(turns: Turns, tenants: str) -> tuple[list[asyncio.Task], list[str]]:
    """A holder for each letter, in order; each ends when it is cancelled."""
    seen: list[str] = []
    tasks = []
    for tenant in tenants:
        tasks.append(asyncio.create_task(hold(turns, tenant, seen, asyncio.Event())))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks, seen


async def end(*tasks: asyncio.Task) -> None:
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_place_that_becomes_free_goes_to_who_has_fewest() -> None:
    tasks, seen = await started(Turns(2, 100, 5), "aaaaaab")
    assert seen == ["a", "a"]
    await end(tasks[0])
    assert seen == ["a", "a", "b"]
    await end(tasks[6])
    assert seen == ["a", "a", "b", "a"]
    await end(*tasks)


async def test_equals_take_turns() -> None:
    tasks, seen = await started(Turns(1, 100, 5), "zaabbcc")
    for _ in range(6):
        running = next(task for task, who in zip(tasks, "zaabbcc", strict=True) if not task.done())
        await end(running)
    assert sorted(seen[1:4]) == ["a", "b", "c"]
    await end(*tasks)


async def test_full_lines_send_the_newest_of_the_longest_away() -> None:
    turns = Turns(1, 3, 5)
    tasks, _ = await started(turns, "aaaa")  # one runs, three wait
    with pytest.raises(TenantBusy):
        async with turn(turns, "a"):
            pass
    late, seen = await started(turns, "b")
    assert isinstance(tasks[3].exception(), TenantBusy)  # made room
    await end(tasks[0])
    await end(tasks[1])
    assert seen == ["b"]
    await end(tasks[2], *late)
    async with turn(turns, "c"):  # every place came back
        pass


async def test_nobody_waits_for_ever() -> None:
    turns = Turns(1, 10, 0.05)
    tasks, _ = await started(turns, "a")
    with pytest.raises(WaitedTooLong):
        async with turn(turns, "b"):
            pass
    await end(*tasks)
    async with turn(turns, "b"):
        pass


async def test_places_survive_whatever_ends_a_wait() -> None:
    turns = Turns(3, 50, 1)
    seen: list[str] = []

    async def ask(number: int) -> None:
        async with turn(turns, "abc"[number % 3]):
            seen.append("x")
            await asyncio.sleep(0.001 * (number % 4))

    tasks = [asyncio.create_task(ask(number)) for number in range(60)]
    for number, task in enumerate(tasks):
        if number % 3 == 0:
            await asyncio.sleep(0.001)
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not turns._lines and not turns._running.total()
