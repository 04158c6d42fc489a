"""How vLLM is asked: alike in serving and in evaluation, else no calibration would hold."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import JsonObject, Message

# Alternatives a token, from which the margin of the first one is read.
TOP_LOGPROBS = 5


def completion_request(
    model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
) -> JsonObject:
    """Return the body of a chat completion at temperature 0, with logprobs.

    `choices` constrain the decoding to one of them. The logprobs are then those of the constrained
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
    return body | ({"structured_outputs": {"choice": list(choices)}} if choices else {})
