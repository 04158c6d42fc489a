"""What a model thought before it answered, apart from the answer.

Engines with a reasoning parser tell the two apart. Others leave the thought in the text, between
tags, or up to a closing tag where the chat template has opened it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import accumulate
from typing import NamedTuple

from schemas.base import JsonObject

TAGS = ("<think>", "[THINK]")
OPENING = re.compile(r"\s*(?:<think>|\[THINK\])")
CLOSING = re.compile(r"(?:</think>|\[/THINK\])\s*")
# Of a thought that the template has opened: on a line of its own, or at the end of one. Within a
# line somebody writes about the tag.
CLOSING_LINE = re.compile(
    r"\n[ \t]*(?:</think>|\[/THINK\])\s*|(?:</think>|\[/THINK\])[ \t]*(?:\n\s*|\Z)"
)


class Apart(NamedTuple):
    """A choice of a chat completion as if nothing had been thought, and the thought."""

    choice: JsonObject
    # None where the model has not thought, or thought nothing.
    thought: str | None


def thought_apart(choice: JsonObject) -> Apart:
    """Take a thought out of a choice: out of its text and out of its tokens, from which confidence
    is read.
    """
    message = choice["message"]
    said = message.get("content")
    thought = message.get("reasoning") or message.get("reasoning_content")
    found = None if thought or not said else thought_in(said)
    if found is None and not thought:
        return Apart(choice, None)
    if found is not None:
        thought, said = found
    logprobs = choice.get("logprobs") or {}
    all_tokens = logprobs.get("content") or []
    # Calls of functions are no text: they are what follows the thought.
    tokens = tokens_of_end(all_tokens, said) if said else tokens_behind(all_tokens, thought or "")
    told = {"message": {**message, "content": said}, "logprobs": logprobs | {"content": tokens}}
    return Apart(choice | told, (thought or "").strip() or None)


def thought_in(said: str) -> tuple[str, str] | None:
    """Return the thought at the beginning of a text, and what follows it.

    A thought that does not end was cut: there is no answer.
    """
    opening = OPENING.match(said)
    start = opening.end() if opening else 0
    if closing := (CLOSING if opening else CLOSING_LINE).search(said, start):
        return said[start : closing.start()], said[closing.end() :]
    return (said[start:], "") if opening else None


def may_be_thought(beginning: str) -> bool:
    """Say whether a text that begins so may still turn out to be a thought, and nothing more."""
    text = beginning.lstrip()
    if not text.startswith(TAGS):
        return any(tag.startswith(text) for tag in TAGS)
    return CLOSING.search(text) is None


def tokens_of_end(tokens: list[JsonObject], said: str) -> list[JsonObject]:
    """Return the tokens that spell the end of what a model wrote, from the one on in which `said`
    begins; none where it is not there.
    """
    pieces = pieces_of(tokens)
    at = b"".join(pieces).rfind(said.encode("utf-8", "replace")) if said else -1
    return tokens[bisect_left(list(accumulate(map(len, pieces))), at + 1) :] if at >= 0 else []


def tokens_behind(tokens: list[JsonObject], thought: str) -> list[JsonObject]:
    """Return the tokens after those that spell a thought; none where it is not there."""
    pieces, wanted = pieces_of(tokens), thought.encode("utf-8", "replace")
    at = b"".join(pieces).find(wanted)
    if at < 0:
        return []
    return tokens[bisect_left(list(accumulate(map(len, pieces))), at + len(wanted)) + 1 :]


def pieces_of(tokens: list[JsonObject]) -> list[bytes]:
    return [bytes(one.get("bytes") or b"") or one["token"].encode() for one in tokens]
