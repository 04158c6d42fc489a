"""How vLLM is asked: one rule for serving and for evaluation, since calibration holds only for
answers asked the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.base import Message

TOP_LOGPROBS = 5


def completion_request(
    model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
) -> dict[str, Any]:
    """`choices`: constrained decoding; the logprobs are then renormalised over them (methods page,
    section 1).
    """
    body = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "max_tokens": max_tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }
    return body | ({"structured_outputs": {"choice": list(choices)}} if choices else {})
