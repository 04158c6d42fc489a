"""OpenAI's older completions: a prompt is a user's message. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator

from schemas.base import JsonObject
from services.router.answers import PIECE, ChatAnswer, summary, usage
from services.router.chat import ChatRequest, as_object, checked
from services.router.openai_errors import BadRequest

# Each with the value that asks for nothing.
NOT_TAKEN = {"suffix": "", "echo": False, "best_of": 1}


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


def frame(answered: ChatAnswer) -> JsonObject:
    return {
        "id": answered.inference_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": answered.route,
    }


def choice(text: str, finish_reason: str | None) -> JsonObject:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}


def body(answered: ChatAnswer) -> JsonObject:
    return frame(answered) | {
        "choices": [choice(answered.attempt.answer, answered.finish_reason)],
        "usage": usage(answered),
        "ratchet": summary(answered),
    }


def chunks(answered: ChatAnswer, with_usage: bool) -> Iterator[JsonObject]:
    for piece in PIECE.findall(answered.attempt.answer):
        yield frame(answered) | {"choices": [choice(piece, None)]}
    yield frame(answered) | {
        "choices": [choice("", answered.finish_reason)],
        "ratchet": summary(answered),
    }
    if with_usage:
        yield frame(answered) | {"choices": [], "usage": usage(answered)}
