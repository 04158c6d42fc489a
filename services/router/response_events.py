"""An answer as OpenAI's Responses tell it: one body, or the events of a stream. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from schemas.base import JsonObject
from services.router.answers import (
    ChatAnswer,
    call_id,
    summary,
    usage,
    with_alternatives,
)
from services.router.chunks import PIECE
from services.router.live import Piece
from services.router.wishes import Wishes


def body(answered: ChatAnswer) -> JsonObject:
    cut = answered.choices[0].finish_reason == "length"
    status = "incomplete" if cut else "completed"
    return response(answered.inference_id, answered.route, status) | {
        "output": list(items(answered, status)),
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "usage": usage_of(answered),
        "ratchet": summary(answered),
    }


def response(inference_id: str, route: str, status: str) -> JsonObject:
    """Return what a response says of itself, before there is any output."""
    return {
        "id": inference_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": route,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": 0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1,
        "truncation": "disabled",
        "usage": None,
    }


def items(answered: ChatAnswer, status: str) -> Iterator[JsonObject]:
    """Yield a message, where there is a text or nothing else, and the calls."""
    choice = answered.choices[0]
    if choice.content or not choice.calls:
        logprobs = (choice.logprobs or {}).get("content", [])
        yield message(answered.inference_id, status, [part(choice.content, logprobs)])
    for place, called in enumerate(choice.calls):
        yield {
            "id": f"fc_{answered.inference_id}{f'_{place}' if place else ''}",
            "type": "function_call",
            "status": status,
            "call_id": call_id(answered, 0, place),
            "name": called.name,
            "arguments": called.arguments,
        }


def message(inference_id: str, status: str, content: list[JsonObject]) -> JsonObject:
    return {
        "id": f"msg_{inference_id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def part(text: str, logprobs: Sequence[JsonObject] = ()) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def usage_of(answered: ChatAnswer) -> JsonObject:
    counted = usage(answered)
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counted["total_tokens"],
    }


class Events:
    """Makes the events of one stream, in the order of OpenAI's."""

    def __init__(self, inference_id: str, route: str, wishes: Wishes) -> None:
        self.inference_id = inference_id
        self.route = route
        self.wishes = wishes
        self._numbers = count()

    def begin(self) -> Iterator[JsonObject]:
        yield from self._created()
        yield from self._message_begun()

    def piece(self, piece: Piece) -> Iterator[JsonObject]:
        most = self.wishes.alternatives
        logprobs = [] if most is None else with_alternatives(piece.tokens, most)
        yield self._delta(piece.text, logprobs)

    def end(self, answered: ChatAnswer) -> Iterator[JsonObject]:
        told = body(answered)
        yield from self._message_done(told["output"][0])
        yield self._event(told["status"], response=told)

    def whole(self, answered: ChatAnswer) -> Iterator[JsonObject]:
        told = body(answered)
        yield from self._created()
        for index, item in enumerate(told["output"]):
            if item["type"] == "message":
                yield from self._message_begun()
                for text in PIECE.findall(item["content"][0]["text"]):
                    yield self._delta(text, [])
                yield from self._message_done(item)
            else:
                yield from self._called(item, index)
        yield self._event(told["status"], response=told)

    def _event(self, kind: str, **more: Any) -> JsonObject:
        return {"type": f"response.{kind}", "sequence_number": next(self._numbers)} | more

    def _created(self) -> Iterator[JsonObject]:
        begun = response(self.inference_id, self.route, "in_progress")
        yield self._event("created", response=begun)
        yield self._event("in_progress", response=begun)

    @property
    def _place(self) -> JsonObject:
        return {"item_id": f"msg_{self.inference_id}", "output_index": 0, "content_index": 0}

    def _message_begun(self) -> Iterator[JsonObject]:
        begun = message(self.inference_id, "in_progress", [])
        yield self._event("output_item.added", output_index=0, item=begun)
        yield self._event("content_part.added", **self._place, part=part(""))

    def _delta(self, text: str, logprobs: list[JsonObject]) -> JsonObject:
        return self._event("output_text.delta", **self._place, delta=text, logprobs=logprobs)

    def _message_done(self, item: JsonObject) -> Iterator[JsonObject]:
        [said] = item["content"]
        done = {"text": said["text"], "logprobs": said["logprobs"]}
        yield self._event("output_text.done", **self._place, **done)
        yield self._event("content_part.done", **self._place, part=said)
        yield self._event("output_item.done", output_index=0, item=item)

    def _called(self, item: JsonObject, index: int) -> Iterator[JsonObject]:
        begun = item | {"status": "in_progress", "arguments": ""}
        yield self._event("output_item.added", output_index=index, item=begun)
        place = {"item_id": item["id"], "output_index": index}
        for text in PIECE.findall(item["arguments"]):
            yield self._event("function_call_arguments.delta", **place, delta=text)
        said = {"name": item["name"], "arguments": item["arguments"]}
        yield self._event("function_call_arguments.done", **place, **said)
        yield self._event("output_item.done", output_index=index, item=item)
