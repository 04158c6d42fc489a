"""Starts the consumers of a service, each by itself.

`KafkaBroker.start` starts one after the other: a topic that is missing holds up those behind it for
40 s, and then fails them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber

from schemas.topics import is_ours
from shared.events.kafka_sender import MISSING
from shared.telemetry import log

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
WHY_CLOSED: dict[type[BaseException], str] = {
    UnknownTopicOrPartitionError: MISSING,
    TopicAuthorizationFailedError: "is forbidden to this service: allow it to read there (ACL)",
    GroupAuthorizationFailedError: "cannot be read in this service's group: allow it that (ACL)",
}

MISSING_APPS = "is missing: the app that writes it, or its owner, makes it"

Step = Callable[[], Awaitable[object]]


class Reading:
    """How far a service has got with reading its topics; `closed` are those that the log does not
    let it read, each with the reason.
    """

    def __init__(self, broker: KafkaBroker, service: str) -> None:
        self.broker = broker
        self.closed: dict[str, str] = {}
        self._log = log(service)

    async def begin(self) -> None:
        """Start to read every topic of ours; go on trying while the log is away or a topic is
        closed.
        """
        await self._insist("all", self.broker.connect, self.broker.stop)
        await self._begin(is_ours)

    async def begin_others(self) -> None:
        """Start to read the apps' own topics: nobody waits for one that is not there yet."""
        await self._begin(lambda topic: not is_ours(topic))

    async def _begin(self, wanted: Callable[[str], bool]) -> None:
        # as `subscribe` made them
        subscribers = cast(list[BatchSubscriber], self.broker.subscribers)
        await asyncio.gather(
            *(
                self._insist(each.topic_names[0], each.start, each.stop)
                for each in subscribers
                if wanted(each.topic_names[0])
            )
        )

    async def _insist(self, topic: str, start: Step, give_up: Step) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await start()
                break
            except (KafkaError, OSError) as error:
                because = WHY_CLOSED.get(type(error))
                if because == MISSING and not is_ours(topic):
                    because = MISSING_APPS
                if because:
                    self.closed[topic] = f"topic {topic} {because}"
                self._log.warning(
                    "not reading yet, will retry",
                    topic=topic,
                    error=because or type(error).__name__,
                    seconds=pause,
                )
                with suppress(Exception):
                    await give_up()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self.closed.pop(topic, None)
