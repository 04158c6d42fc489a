"""OpenAI's older completions: a prompt is a user's message. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator

from schemas.base import JsonObject
from services.router.answers import ChatAnswer, summary, usage
from services.router.chat import ChatRequest, as_object, checked
from services.router.chunks import PIECE
from services.router.live import Piece
from services.router.openai_errors import BadRequest
from services.router.wishes import Wishes

# Each with the value that asks for nothing.
NOT_TAKEN = {"suffix": "", "echo": False, "best_of": 1, "tools": []}


def read(body: bytes) -> ChatRequest:
    """Read a request as a chat. Raises BadRequest."""
    sent = as_object(body)
    prompt = sent.pop("prompt", None)
    if isinstance(prompt, list) and len(prompt) == 1:
        [prompt] = prompt
    if not isinstance(prompt, str):
        raise BadRequest("prompt: one text is asked at a time; tokens are not taken", "prompt")
    for name, nothing in NOT_TAKEN.items():
        if sent.pop(name, None) not in (None, nothing):
            raise BadRequest(f"{name} is not supported: leave it out", name)
    logprobs = sent.pop("logprobs", None)
    if logprobs is not None:
        raise BadRequest(
            "log-probabilities are given by POST /v1/chat/completions: leave logprobs out",
            "logprobs",
        )
    return checked(sent | {"messages": [{"role": "user", "content": prompt}]})


def frame(inference_id: str, route: str) -> JsonObject:
    return {
        "id": inference_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": route,
    }


def choice(index: int, text: str, finish_reason: str | None) -> JsonObject:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def body(answered: ChatAnswer) -> JsonObject:
    choices = [
        choice(index, one.content, one.finish_reason) for index, one in enumerate(answered.choices)
    ]
    return frame(answered.inference_id, answered.route) | {
        "choices": choices,
        "usage": usage(answered),
        "ratchet": summary(answered),
    }


class Chunks:
    """Makes the chunks of one stream."""

    def __init__(self, inference_id: str, route: str, wishes: Wishes) -> None:
        self.wishes = wishes
        self.frame = frame(inference_id, route)

    def begin(self) -> Iterator[JsonObject]:
        return iter(())

    def piece(self, piece: Piece) -> Iterator[JsonObject]:
        yield self.frame | {"choices": [choice(0, piece.text, None)]}

    def end(self, answered: ChatAnswer) -> Iterator[JsonObject]:
        last = len(answered.choices) - 1
        yield self._closing(answered, last) | {"ratchet": summary(answered)}
        if self.wishes.usage_in_stream:
            yield self.frame | {"choices": [], "usage": usage(answered)}

    def whole(self, answered: ChatAnswer) -> Iterator[JsonObject]:
        last = len(answered.choices) - 1
        for index, one in enumerate(answered.choices):
            for text in PIECE.findall(one.content):
                yield self.frame | {"choices": [choice(index, text, None)]}
            if index < last:
                yield self._closing(answered, index)
        yield from self.end(answered)

    def _closing(self, answered: ChatAnswer, index: int) -> JsonObject:
        reason = answered.choices[index].finish_reason
        return self.frame | {"choices": [choice(index, "", reason)]}
