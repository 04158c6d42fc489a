"""One lane a topic: a topic that is slow, missing or forbidden holds up no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from shared.errors import Retryable
from shared.events.sending import Delivery, OutboxRow, Sender, TopicClosed
from shared.telemetry import OUTBOX_HELD, log

# How long a pass waits for its slowest topic. Who takes longer goes on by itself.
PATIENCE_SECONDS = 1.0
# From the first failure to the next try, doubling.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
# A person must create the topic or allow it; each try asks the log for its metadata.
LONGEST_PAUSE_CLOSED = 15.0


@dataclass(frozen=True)
class Hold:
    """Why nothing of a topic is sent, and when it is tried again, by the monotonic clock."""

    because: str
    is_closed: bool
    pause: float
    until: float


@dataclass(frozen=True)
class Sent:
    """Rows that a sender is done with; `broken` is what `Lanes.send` was told."""

    rows: Sequence[OutboxRow]
    delivery: Delivery
    broken: int


class Lanes:
    """Sends the rows of each topic by themselves, and remembers which topics must wait."""

    def __init__(self, sender: Sender, wake: Callable[[], None]) -> None:
        self.sender = sender
        self.log = log("relay")
        self._wake = wake
        self._busy: dict[str, asyncio.Task[Sent]] = {}
        self._holds: dict[str, Hold] = {}

    def open(self, topics: Iterable[str]) -> tuple[str, ...]:
        """Return the topics whose next rows may be sent now."""
        now = time.monotonic()
        return tuple(
            topic
            for topic in topics
            if topic not in self._busy
            and (topic not in self._holds or self._holds[topic].until <= now)
        )

    @property
    def closed(self) -> Mapping[str, str]:
        """Return the topics that are missing or forbidden, each with the reason."""
        return {topic: hold.because for topic, hold in self._holds.items() if hold.is_closed}

    @property
    def pause(self) -> float | None:
        """Return the seconds until the next topic is tried again; None where none waits."""
        times = [hold.until for hold in self._holds.values()]
        return max(min(times) - time.monotonic(), 0.0) if times else None

    def is_busy(self, topic: str) -> bool:
        return topic in self._busy

    async def send(self, rows: Sequence[OutboxRow], broken: int) -> list[Sent]:
        """Begin to send rows; return what is done within PATIENCE_SECONDS, also of rows before.

        `broken` is how many connections had broken when the log was last found to be whole: were it
        counted here, rows could land in a log that nobody has compared yet. Order within a topic
        holds: a topic is not open again before its rows have an end.
        """
        of_topic = attrgetter("aggregatetype")
        begun = {
            topic: asyncio.create_task(self._send(list(some), broken), name=f"send {topic}")
            for topic, some in groupby(sorted(rows, key=of_topic), of_topic)
        }
        self._busy |= begun
        if begun:
            _, late = await asyncio.wait(begun.values(), timeout=PATIENCE_SECONDS)
            for task in late:
                task.add_done_callback(lambda _: self._wake())
        done = {topic: task for topic, task in self._busy.items() if task.done()}
        for topic, task in done.items():
            del self._busy[topic]
            self._settle(topic, task.result().delivery.error)
        return [task.result() for task in done.values()]

    async def stop(self) -> None:
        """Give up what is on its way: it comes again."""
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _send(self, rows: Sequence[OutboxRow], broken: int) -> Sent:
        try:
            return Sent(rows, await self.sender.send(rows), broken)
        except Retryable as error:
            return Sent(rows, Delivery(error=error), broken)

    def _settle(self, topic: str, error: Retryable | None) -> None:
        before = self._holds.pop(topic, None)
        OUTBOX_HELD.labels(topic).set(isinstance(error, TopicClosed))
        if error is None:
            if before and before.is_closed:
                self.log.info("topic is open again", topic=topic)
            return
        is_closed = isinstance(error, TopicClosed)
        longest = LONGEST_PAUSE_CLOSED if is_closed else LONGEST_PAUSE
        pause = min(before.pause * 2, longest) if before else FIRST_PAUSE
        self._holds[topic] = Hold(str(error), is_closed, pause, time.monotonic() + pause)
        if before is None or before.because != str(error):
            self.log.warning("not published, will retry", topic=topic, error=str(error))
