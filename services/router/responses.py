"""OpenAI's Responses, as far as a route has them: a question in, a message out. Pure.

No state is kept between two requests: what refers to an earlier one is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

from schemas.base import JsonObject
from services.router.answers import PIECE, ChatAnswer, logprobs_of, summary, usage
from services.router.chat import ChatRequest, as_object, checked
from services.router.openai_errors import BadRequest

STATEFUL: Mapping[str, str] = {
    "previous_response_id": "nothing is kept between two requests: send the whole conversation as"
    " input",
    "conversation": "nothing is kept between two requests: send the whole conversation as input",
    "background": "answers are given at once: leave background out",
    "prompt": "the route has its prompt: leave prompt out",
}
RENAMED: Mapping[str, str] = {"max_output_tokens": "max_completion_tokens"}
WITH_LOGPROBS = "message.output_text.logprobs"


def read(body: bytes) -> ChatRequest:
    """Read a request as a chat. Raises BadRequest, by the names of this API."""
    sent = as_object(body)
    for name, why in STATEFUL.items():
        if sent.pop(name, None):
            raise BadRequest(why, name)
    chat: JsonObject = {RENAMED.get(name, name): value for name, value in sent.items()}
    chat["messages"] = messages_of(chat.pop("input", None), chat.pop("instructions", None))
    chat["response_format"] = format_of(chat.pop("text", None))
    chat["tools"] = tools_of(chat.pop("tools", None))
    include = chat.pop("include", None)
    if isinstance(include, list) and WITH_LOGPROBS in include:
        chat["logprobs"] = True
    elif not chat.get("top_logprobs"):
        chat.pop("top_logprobs", None)
    try:
        return checked(chat)
    except BadRequest as error:
        where = error.param and error.param.replace("messages", "input")
        raise BadRequest(str(error).replace("messages", "input"), where) from error


def messages_of(sent: object, instructions: object) -> list[JsonObject]:
    """Return the messages of an input. Raises BadRequest for items that are no messages."""
    first = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(sent, str):
        return [*first, {"role": "user", "content": sent}]
    if not isinstance(sent, list) or not sent:
        raise BadRequest("input: a text, or a list of messages", "input")
    return [*first, *(message_of(item, number) for number, item in enumerate(sent))]


def message_of(item: object, number: int) -> JsonObject:
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if not isinstance(item, dict) or kind != "message":
        raise BadRequest(
            "only messages are supported: send the texts of the conversation", f"input.{number}"
        )
    return {"role": item.get("role"), "content": item.get("content")}


def tools_of(sent: object) -> object:
    """Return functions as chats write them."""
    if not isinstance(sent, list):
        return sent
    return [
        {"type": "function", "function": tool}
        if isinstance(tool, dict) and tool.get("type") == "function"
        else tool
        for tool in sent
    ]


def format_of(text: object) -> JsonObject | None:
    """Return the `response_format` of a chat."""
    wanted = text.get("format") if isinstance(text, dict) else None
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") != "json_schema":
        return wanted
    return {"type": "json_schema", "json_schema": {"schema": wanted.get("schema")}}


def body(answered: ChatAnswer) -> JsonObject:
    whole = answered.finish_reason != "length"
    return response(answered, "completed" if whole else "incomplete") | {
        "output": [item(answered, "completed" if whole else "incomplete", whole_of(answered))],
        "incomplete_details": None if whole else {"reason": "max_output_tokens"},
        "usage": usage_of(answered),
        "ratchet": summary(answered),
    }


def response(answered: ChatAnswer, status: str) -> JsonObject:
    """Return what a response says of itself, before there is any output."""
    return {
        "id": answered.inference_id,
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": answered.route,
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


def whole_of(answered: ChatAnswer) -> list[JsonObject] | str:
    return answered.attempt.answer if answered.tool else [part(answered)]


def item(answered: ChatAnswer, status: str, content: list[JsonObject] | str) -> JsonObject:
    """Return a message with its parts, or a call with its arguments."""
    if answered.tool:
        return {
            "id": f"fc_{answered.inference_id}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_{answered.inference_id}",
            "name": answered.tool,
            "arguments": content,
        }
    return {
        "id": f"msg_{answered.inference_id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def part(answered: ChatAnswer, text: str | None = None) -> JsonObject:
    said = answered.attempt.answer if text is None else text
    logprobs = (logprobs_of(answered) or {}).get("content", [])
    return {
        "type": "output_text",
        "text": said,
        "annotations": [],
        "logprobs": [] if text is not None else logprobs,
    }


def usage_of(answered: ChatAnswer) -> JsonObject:
    counted = usage(answered)
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": counted["total_tokens"],
    }


def events(answered: ChatAnswer) -> Iterator[JsonObject]:
    """Yield the events of a stream, in the order of OpenAI's."""
    numbers = count()
    whole = body(answered)

    def event(kind: str, **more: Any) -> JsonObject:
        return {"type": f"response.{kind}", "sequence_number": next(numbers)} | more

    begun = response(answered, "in_progress")
    nothing: list[JsonObject] | str = "" if answered.tool else []
    yield event("created", response=begun)
    yield event("in_progress", response=begun)
    yield event("output_item.added", output_index=0, item=item(answered, "in_progress", nothing))
    yield from arguments_of(answered, event) if answered.tool else text_of(answered, event)
    yield event("output_item.done", output_index=0, item=whole["output"][0])
    yield event(whole["status"], response=whole)


def text_of(answered: ChatAnswer, event: Callable[..., JsonObject]) -> Iterator[JsonObject]:
    place = {"item_id": f"msg_{answered.inference_id}", "output_index": 0, "content_index": 0}
    yield event("content_part.added", **place, part=part(answered, ""))
    for piece in PIECE.findall(answered.attempt.answer):
        yield event("output_text.delta", **place, delta=piece, logprobs=[])
    done = part(answered)
    yield event("output_text.done", **place, text=done["text"], logprobs=done["logprobs"])
    yield event("content_part.done", **place, part=done)


def arguments_of(answered: ChatAnswer, event: Callable[..., JsonObject]) -> Iterator[JsonObject]:
    place = {"item_id": f"fc_{answered.inference_id}", "output_index": 0}
    for piece in PIECE.findall(answered.attempt.answer):
        yield event("function_call_arguments.delta", **place, delta=piece)
    yield event(
        "function_call_arguments.done",
        **place,
        name=answered.tool,
        arguments=answered.attempt.answer,
    )
