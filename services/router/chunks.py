"""The chunks of a chat completion's stream, of an answer that is there or one that comes. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from schemas.base import JsonObject
from schemas.tool_calls import Called
from services.router.answers import (
    ChatAnswer,
    Choice,
    call,
    call_id,
    summary,
    usage,
    with_alternatives,
)
from services.router.live import Piece
from services.router.wishes import Wishes

# How much of an answer a chunk holds: about what a model gives at a time.
PIECE = re.compile(r"\s*\S{1,40}|\s+")


class Chunks:
    """Makes the chunks of one stream."""

    def __init__(self, inference_id: str, route: str, wishes: Wishes) -> None:
        self.wishes = wishes
        self.frame: JsonObject = {
            "id": inference_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": route,
        } | ({"usage": None} if wishes.usage_in_stream else {})

    def chunk(self, index: int, delta: JsonObject, **more: object) -> JsonObject:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        return self.frame | {"choices": [choice]}

    def begin(self) -> Iterator[JsonObject]:
        yield self.chunk(0, {"role": "assistant", "content": "", "refusal": None})

    def piece(self, piece: Piece) -> Iterator[JsonObject]:
        yield self.chunk(0, {"content": piece.text}, logprobs=self._logprobs(piece.tokens))

    def end(self, answered: ChatAnswer) -> Iterator[JsonObject]:
        """Yield what follows the last piece; the `ratchet` object is in the last of a choice."""
        index = len(answered.choices) - 1
        yield self._closing(answered, index) | {"ratchet": summary(answered)}
        if self.wishes.usage_in_stream:
            yield self.frame | {"choices": [], "usage": usage(answered)}

    def whole(self, answered: ChatAnswer) -> Iterator[JsonObject]:
        """Yield all of an answer that is there."""
        last = len(answered.choices) - 1
        for index, choice in enumerate(answered.choices):
            yield from self._said(answered, index, choice)
            if index < last:
                yield self._closing(answered, index)
        yield from self.end(answered)

    def _said(self, answered: ChatAnswer, index: int, choice: Choice) -> Iterator[JsonObject]:
        content = None if choice.calls and not choice.content else ""
        yield self.chunk(index, {"role": "assistant", "content": content, "refusal": None})
        # Which token stands in which piece is nobody's business: all come with the first.
        logprobs = choice.logprobs
        for text in PIECE.findall(choice.content):
            yield self.chunk(index, {"content": text}, logprobs=logprobs)
            logprobs = None
        for place, called in enumerate(choice.calls):
            begun = {"index": place} | call(
                call_id(answered, index, place), Called(called.name, "")
            )
            yield self.chunk(index, {"tool_calls": [begun]}, logprobs=logprobs)
            logprobs = None
            for text in PIECE.findall(called.arguments):
                further = {"index": place, "function": {"arguments": text}}
                yield self.chunk(index, {"tool_calls": [further]})

    def _closing(self, answered: ChatAnswer, index: int) -> JsonObject:
        return self.chunk(index, {}, finish_reason=answered.choices[index].finish_reason)

    def _logprobs(self, tokens: Sequence[JsonObject]) -> JsonObject | None:
        most = self.wishes.alternatives
        if most is None:
            return None
        return {"content": with_alternatives(tokens, most), "refusal": None}
