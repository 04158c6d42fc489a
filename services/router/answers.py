"""An answer as OpenAI's clients read it: one body, or the chunks of a stream. Pure."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.base import Attempt, JsonObject

Outcome = Literal["confident", "fell_back", "unsure"]
# How much of an answer a chunk holds: about what a model gives at a time.
PIECE = re.compile(r"\s*\S{1,40}|\s+")


@dataclass(frozen=True)
class ChatAnswer:
    """What the gateway decided, ready to be told to the app."""

    inference_id: str
    route: str
    attempt: Attempt
    outcome: Outcome
    route_version: int
    attempts: tuple[Attempt, ...]
    finish_reason: str
    # Why a model did not answer, or was not asked.
    notes: tuple[str, ...] = ()
    # What the app sent and the route does nothing about.
    ignored: tuple[str, ...] = ()
    # The function that the answer is given to, as its arguments.
    tool: str | None = None
    # OpenAI's entries, where the app wants them.
    logprobs: Sequence[JsonObject] | None = None

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of all attempts: each was paid for."""
        return sum(attempt.prompt_tokens or 0 for attempt in self.attempts)

    @property
    def completion_tokens(self) -> int:
        return sum(attempt.completion_tokens or 0 for attempt in self.attempts)


def completion_body(answered: ChatAnswer) -> JsonObject:
    said: JsonObject = (
        {"content": None, "tool_calls": [call(answered, answered.attempt.answer)]}
        if answered.tool
        else {"content": answered.attempt.answer}
    )
    choice = {
        "index": 0,
        "message": {"role": "assistant", "refusal": None} | said,
        "logprobs": logprobs_of(answered),
        "finish_reason": finish(answered),
    }
    return {
        "id": answered.inference_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answered.route,
        "choices": [choice],
        "usage": usage(answered),
        "ratchet": summary(answered),
    }


def call(answered: ChatAnswer, arguments: str) -> JsonObject:
    return {
        "id": f"call_{answered.inference_id}",
        "type": "function",
        "function": {"name": answered.tool, "arguments": arguments},
    }


def finish(answered: ChatAnswer) -> str:
    whole = answered.finish_reason == "stop"
    return "tool_calls" if answered.tool and whole else answered.finish_reason


def chunks(answered: ChatAnswer, with_usage: bool) -> Iterator[JsonObject]:
    """Yield the chunks of a stream; the `ratchet` object is in the last that has a choice."""
    frame: JsonObject = {
        "id": answered.inference_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": answered.route,
    } | ({"usage": None} if with_usage else {})

    def chunk(delta: JsonObject, **more: object) -> JsonObject:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} | more
        return frame | {"choices": [choice]}

    begun: JsonObject
    if answered.tool:
        begun = {"content": None, "tool_calls": [{"index": 0} | call(answered, "")]}
    else:
        begun = {"content": "", "refusal": None}
    yield chunk({"role": "assistant"} | begun)
    # Which token stands in which piece is nobody's business: all come with the first.
    logprobs = logprobs_of(answered)
    for piece in PIECE.findall(answered.attempt.answer):
        delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        yield chunk(delta if answered.tool else {"content": piece}, logprobs=logprobs)
        logprobs = None
    yield chunk({}, finish_reason=finish(answered)) | {"ratchet": summary(answered)}
    if with_usage:
        yield frame | {"choices": [], "usage": usage(answered)}


def usage(answered: ChatAnswer) -> JsonObject:
    return {
        "prompt_tokens": answered.prompt_tokens,
        "completion_tokens": answered.completion_tokens,
        "total_tokens": answered.prompt_tokens + answered.completion_tokens,
    }


def logprobs_of(answered: ChatAnswer) -> JsonObject | None:
    if answered.logprobs is None:
        return None
    return {"content": list(answered.logprobs), "refusal": None}


def with_alternatives(tokens: Sequence[JsonObject], most: int) -> list[JsonObject]:
    """Return the engine's entries with at most so many alternatives each."""
    return [
        {
            "token": token["token"],
            "logprob": token["logprob"],
            "bytes": token.get("bytes"),
            "top_logprobs": list(token.get("top_logprobs") or ())[:most],
        }
        for token in tokens
    ]


def summary(answered: ChatAnswer) -> JsonObject:
    """Render the `ratchet` object of the body.

    `confidence` is P(correct), null while the arm is uncalibrated; `score` is the raw one.
    """
    confidence = answered.attempt.confidence
    return {
        "inference_id": answered.inference_id,
        "outcome": answered.outcome,
        "arm": answered.attempt.arm,
        "adapter": answered.attempt.adapter_id,
        "confidence": confidence.p_correct if confidence else None,
        "score": confidence.score if confidence else None,
        "threshold": confidence.threshold if confidence else None,
        "route_version": answered.route_version,
        "note": "; ".join(answered.notes) or None,
        "ignored": list(answered.ignored),
        "attempts": [attempt.model_dump(mode="json") for attempt in answered.attempts],
    }


def completion_headers(answered: ChatAnswer) -> Mapping[str, str]:
    confidence = answered.attempt.confidence
    p_correct = confidence.p_correct if confidence else None
    return {
        "x-ratchet-inference-id": answered.inference_id,
        "x-ratchet-outcome": answered.outcome,
        "x-ratchet-arm": answered.attempt.arm,
        "x-ratchet-adapter": answered.attempt.adapter_id or "none",
        "x-ratchet-route-version": str(answered.route_version),
        "x-ratchet-confidence": "uncalibrated" if p_correct is None else f"{p_correct:.6f}",
    }
