"""An answer as OpenAI's clients read it in one body. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Literal, NamedTuple

from schemas.base import Attempt, JsonObject
from schemas.tool_calls import Called, Turn, read_turn

Outcome = Literal["confident", "fell_back", "unsure"]


class Drawn(NamedTuple):
    """How a further answer ended, and OpenAI's log-probabilities of it where they are wanted."""

    finish_reason: str
    logprobs: Sequence[JsonObject] | None


class Choice(NamedTuple):
    """One answer as an app reads it, in OpenAI's words."""

    content: str
    calls: tuple[Called, ...]
    finish_reason: str
    logprobs: JsonObject | None


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
    # Of the attempt's alternatives.
    drawn: tuple[Drawn, ...] = ()
    # What the model could call: its answers may be calls.
    tools: tuple[JsonObject, ...] = ()
    # A live answer that ended early.
    is_cut: bool = False
    # Unsure only for want of a certificate.
    is_provisional: bool = False

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Return all answers as an app reads them."""
        first = self._choice(self.attempt.answer, self.finish_reason, self.logprobs)
        if not self.attempt.alternatives:
            return (first,)
        others = zip_longest(self.attempt.alternatives, self.drawn, fillvalue=Drawn("stop", None))
        return (first, *(self._choice(str(text), *drawn) for text, drawn in others))

    def _choice(
        self, text: str, finish_reason: str, logprobs: Sequence[JsonObject] | None
    ) -> Choice:
        said = None if logprobs is None else {"content": list(logprobs), "refusal": None}
        if self.tool:
            turn = Turn("", (Called(self.tool, text),))
        elif self.tools:
            turn = read_turn(text)
        else:
            return Choice(text, (), finish_reason, said)
        whole = finish_reason == "stop"
        reason = "tool_calls" if turn.calls and whole else finish_reason
        return Choice(turn.content, turn.calls, reason, said)

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of all attempts: each was paid for."""
        return sum(attempt.prompt_tokens or 0 for attempt in self.attempts)

    @property
    def completion_tokens(self) -> int:
        return sum(attempt.completion_tokens or 0 for attempt in self.attempts)


def completion_body(answered: ChatAnswer) -> JsonObject:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "refusal": None} | message(answered, index),
            "logprobs": choice.logprobs,
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(answered.choices)
    ]
    return {
        "id": answered.inference_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answered.route,
        "choices": choices,
        "usage": usage(answered),
        "ratchet": summary(answered),
    }


def message(answered: ChatAnswer, index: int) -> JsonObject:
    choice = answered.choices[index]
    if not choice.calls:
        return {"content": choice.content}
    calls = [
        call(call_id(answered, index, place), called) for place, called in enumerate(choice.calls)
    ]
    return {"content": choice.content or None, "tool_calls": calls}


def call(identity: str, called: Called) -> JsonObject:
    return {"id": identity, "type": "function", "function": called._asdict()}


def call_id(answered: ChatAnswer, index: int, place: int) -> str:
    """Name a call, the same whenever the answer is told again."""
    more = f"_{index}_{place}" if index or place else ""
    return f"call_{answered.inference_id}{more}"


def usage(answered: ChatAnswer) -> JsonObject:
    return {
        "prompt_tokens": answered.prompt_tokens,
        "completion_tokens": answered.completion_tokens,
        "total_tokens": answered.prompt_tokens + answered.completion_tokens,
    }


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
    `certified` says whether the threshold has a proof, and `provisional` that nothing but this is
    missing.
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
        "certified": bool(confidence and confidence.certified),
        "provisional": answered.is_provisional,
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
        "x-ratchet-certified": str(bool(confidence and confidence.certified)).lower(),
        "x-ratchet-provisional": str(answered.is_provisional).lower(),
        "x-ratchet-confidence": "uncalibrated" if p_correct is None else f"{p_correct:.6f}",
    }
