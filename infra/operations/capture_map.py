"""Lets capture's own code say what a mapping makes of the newest records of an app's topic.

It runs beside us, as a service does, and stores nothing; reading moves nobody's offsets.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from aiokafka import ConsumerRecord

from infra.operations.log import Span, records, survey
from schemas.base import JsonObject
from shared.errors import Invalid, NotFound
from shared.events import Partition

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0


class MappingUnusable(Invalid):
    def __init__(self, said: str) -> None:
        super().__init__(said.strip() or "capture could not read the mapping")


class NothingThere(NotFound):
    def __init__(self, topic: str) -> None:
        super().__init__(
            f"the topic '{topic}' is not there, or holds nothing: let the app send a few records"
        )


def mappings_in(file: Path) -> list[JsonObject]:
    """Return the mappings of a file or a folder. Raises MappingUnusable with capture's words."""
    found: list[JsonObject] = json.loads(ask_capture([str(file)], ""))
    return found


def made_of(file: Path, sampled: Sequence[ConsumerRecord]) -> list[JsonObject]:
    """Return what capture would make of each record."""
    lines = [
        json.dumps(
            {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": record.timestamp,
                "value": None if record.value is None else b64encode(record.value).decode(),
            }
        )
        for record in sampled
    ]
    said = ask_capture([str(file), "--records"], "\n".join(lines))
    return [json.loads(line) for line in said.splitlines()]


async def newest(servers: str, topic: str, count: int) -> list[ConsumerRecord]:
    """Return as many of a topic's newest records, from all of its partitions."""
    spans = (await asyncio.to_thread(survey, servers, [topic])).of(topic)
    if not any(map(len, spans.values())):
        raise NothingThere(topic)
    last: dict[Partition, Span] = {
        at: Span(max(span.begin, span.end - count), span.end) for at, span in spans.items()
    }
    async with aclosing(records(servers, last)) as found:
        sampled = [record async for record in found]
    return sorted(sampled, key=lambda record: record.timestamp)[-count:]


def ask_capture(arguments: list[str], given: str) -> str:
    paths = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "services.capture.preview", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=os.environ | {"PYTHONPATH": paths},
    )
    if done.returncode:
        raise MappingUnusable(done.stderr)
    return done.stdout
