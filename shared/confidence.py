"""How sure a model was, read from the tokens of one chat completion: the one rule for serving and for calibration.

Router and evaluator must read the same score from the same tokens, else a calibration fitted by one misleads the other.
"""

from __future__ import annotations

from math import exp
from typing import Any

from schemas.base import Confidence


def answer_tokens(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """The logprob entries that spell the answer. vLLM appends the end token (`<|im_end|>`), which no answer contains."""
    tokens = (choice.get("logprobs") or {}).get("content") or []
    left = len((choice["message"].get("content") or "").encode())
    spelled = []
    for token in tokens:
        if left <= 0:
            break
        left -= len(token["bytes"] or token["token"].encode())
        spelled.append(token)
    return spelled


def read_confidence(choice: dict[str, Any]) -> Confidence:
    """Score 0 for an empty answer: saying nothing is never confident."""
    tokens = answer_tokens(choice)
    logprobs = [min(token["logprob"], 0.0) for token in tokens]
    if not tokens:
        return Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0)
    return Confidence(score=exp(sum(logprobs)), min_logprob=min(logprobs), first_margin=_margin(tokens[0]), tokens=len(tokens))


def _margin(token: dict[str, Any]) -> float:
    """How far the chosen first token is ahead of the best alternative, in nats."""
    others = [other["logprob"] for other in token.get("top_logprobs") or () if other["token"] != token["token"]]
    return max(token["logprob"] - max(others), 0.0) if others else 0.0
