"""A service that is told to stop ends, whatever its tasks make of a cancellation."""

from __future__ import annotations

import asyncio

import pytest

import shared.service
from shared.child import _next_line
from shared.service import end


async def stubborn(times: int) -> None:
    """Go on after that many cancellations."""
    for _ in range(times):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue
    await asyncio.sleep(60)


@pytest.mark.parametrize("times", [0, 1, 2])
async def test_a_task_that_goes_on_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(shared.service, "CANCEL_SECONDS", 0.05)
    task = asyncio.create_task(stubborn(times))
    await asyncio.sleep(0)
    await end([task])
    assert task.cancelled()


async def test_one_that_never_ends_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.service, "CANCEL_SECONDS", 0.05)
    task = asyncio.create_task(stubborn(10))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end([task])
    assert not task.done()
    for _ in range(20):
        task.cancel()
        await asyncio.sleep(0)


async def wait_for_line(stream: asyncio.StreamReader) -> bytes:
    """What it was before: the control."""
    return await asyncio.wait_for(stream.readline(), 5)


async def loses_a_cancellation(read: object, ticks: int) -> bool:
    """Say whether a loop that reads lines goes on after it was cancelled that many ticks after a
    line came.
    """
    stream = asyncio.StreamReader()

    async def loop() -> None:
        while True:
            await read(stream)

    task = asyncio.create_task(loop())
    await asyncio.sleep(0.01)
    stream.feed_data(b"a line\n")
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=0.1)
    lost = not task.done()
    task.cancel()
    await asyncio.wait({task})
    return lost


async def test_a_cancellation_that_meets_a_line_of_a_child_is_not_lost() -> None:
    assert not any([await loses_a_cancellation(lambda s: _next_line(s, 5.0), t) for t in range(8)])


@pytest.mark.skipif("sys.version_info >= (3, 12)", reason="mended in Python 3.12")
async def test_wait_for_loses_it() -> None:
    """The negative control."""
    assert any([await loses_a_cancellation(wait_for_line, ticks) for ticks in range(8)])
