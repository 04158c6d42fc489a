"""How vLLM is asked: alike in serving and in evaluation, else no calibration would hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.base import JsonObject, Message

# Alternatives a token, from which the margin of the first one is read.
TOP_LOGPROBS = 5


@dataclass(frozen=True)
class Bounds:
    """What an answer must keep to beyond its length; nothing by default."""

    # The only answers there are.
    choices: tuple[str, ...] = ()
    # The answer is a JSON object, of this schema where it is not empty.
    json_schema: JsonObject | None = None
    # Texts that end the answer, and are no part of it.
    stop: tuple[str, ...] = ()


FREE = Bounds()


def completion_request(
    model: str, messages: Sequence[Message], max_tokens: int, bounds: Bounds = FREE
) -> JsonObject:
    """Return the body of a chat completion at temperature 0, with logprobs.

    Choices and schemas constrain the decoding. The logprobs are then those of the constrained
    distribution, so that the sums of all choices add up to a probability of 1 (docs/methods.md,
    section 1).
    """
    body: JsonObject = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "max_tokens": max_tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }
    if bounds.choices:
        body["structured_outputs"] = {"choice": list(bounds.choices)}
    elif bounds.json_schema is not None:
        body["structured_outputs"] = (
            {"json": bounds.json_schema} if bounds.json_schema else {"json_object": True}
        )
    if bounds.stop:
        body["stop"] = list(bounds.stop)
    return body
