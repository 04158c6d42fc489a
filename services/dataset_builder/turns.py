"""The one JSON form of a conversation, and the opening of those that were too large for an
event.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from schemas.base import JsonObject, Message
from schemas.json_answers import canonical
from services.dataset_builder.rows import DatasetRow, UnopenedRow
from shared.rules import read_content
from shared.storage import BlobCorrupt, BlobMissing, BlobStore


@dataclass(frozen=True)
class Opened:
    rows: list[DatasetRow]
    # How many rows could not be opened, by reason.
    refused: Counter[str]


# What only the turns of tools and of those who call them hold.
OF_TOOLS = ("tool_calls", "tool_call_id", "name")


def encode(turns: Iterable[JsonObject]) -> str:
    """Return a conversation as JSON, so that equal conversations are equal bytes."""
    return json.dumps(
        [
            {"role": turn["role"], "content": turn["content"]}
            | {name: turn[name] for name in OF_TOOLS if turn.get(name)}
            for turn in turns
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def encode_sent(messages: Iterable[Message]) -> str:
    """Return what the app sent as JSON, its system turn included: an answer may hang on it."""
    return encode(message.model_dump() for message in messages)


def said_in(turn: JsonObject) -> str:
    """Return all that a turn says: its text and its calls, without the ids that tell them apart."""
    called = (
        f"{call['name']} {arguments_of(call['arguments'])}" for call in turn.get("tool_calls") or ()
    )
    return "\n".join((turn["content"], *called))


def arguments_of(sent: str) -> str:
    """Return arguments by their value, as far as they are JSON."""
    try:
        return canonical(sent)
    except ValueError:
        return sent


async def open_rows(blobs: BlobStore, unopened: Sequence[UnopenedRow]) -> Opened:
    """Read the turns of rows that refer to them.

    A row whose content is missing or was changed is refused, and the others go on. An artifact
    store that does not answer raises: the build is tried again.
    """
    opened = Opened([], Counter())
    for one in unopened:
        try:
            content = await read_content(blobs, one.content)
        except BlobMissing:
            opened.refused["content_missing"] += 1
        except BlobCorrupt:
            opened.refused["content_corrupt"] += 1
        else:
            opened.rows.append(replace(one.row, messages=encode_sent(content.messages)))
    return opened
