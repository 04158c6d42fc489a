"""How sure a model was, read from the tokens of one chat completion.

The router that serves and the evaluator that calibrates must read the same score from the same
tokens, else a calibration that one fits misleads the other.
"""

from __future__ import annotations

from math import exp, fsum
from typing import NamedTuple

from schemas.base import Confidence, JsonObject

# How some servers print a token that holds only part of a character; vLLM prints nothing.
UNFINISHED = "\ufffd".encode()
# Bytes that such tokens may leave unaligned before the next whole token.
LONGEST_GAP = 16


def answer_tokens(choice: JsonObject) -> list[JsonObject]:
    """Return the logprob entries that spell the answer.

    The end token and other special tokens are not in its text, so they drop out.
    """
    content = (choice["message"].get("content") or "").encode("utf-8", "replace")
    spelled = []
    at = 0
    unaligned = False
    for token in (choice.get("logprobs") or {}).get("content") or []:
        if at >= len(content):
            break
        piece = bytes(token.get("bytes") or b"") or token["token"].encode("utf-8", "replace")
        if end := _end_of(piece, content, at, unaligned):
            spelled.append(token)
            at = end
            unaligned = False
        elif not piece or UNFINISHED in piece:
            spelled.append(token)
            unaligned = True
    return spelled


def _end_of(piece: bytes, content: bytes, at: int, unaligned: bool) -> int:
    """Return where `piece` ends in `content`; 0 when it does not stand at `at`.

    After unfinished characters (`unaligned`) it may stand a little later.
    """
    if not piece:
        return 0
    if content.startswith(piece, at):
        return at + len(piece)
    # A stop string may have cut this token.
    if piece.startswith(content[at:]):
        return len(content)
    # Some tokenizers drop the first space
    if at == 0 and piece.strip() and content.startswith(piece.lstrip()):
        return len(piece.lstrip())
    found = content.find(piece, at, at + LONGEST_GAP + len(piece)) if unaligned else -1
    return found + len(piece) if found >= 0 else 0


class Reading(NamedTuple):
    confidence: Confidence
    # Natural logarithm: the sum over the tokens that spell the answer.
    logprob: float


def read_answer(choice: JsonObject) -> Reading:
    """Read how sure the model was of its answer, and how probable it was.

    An empty answer has score 0: saying nothing is never confident.
    """
    tokens = answer_tokens(choice)
    if not tokens:
        return Reading(Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0), 0.0)
    logprobs = [min(token["logprob"], 0.0) for token in tokens]
    logprob = fsum(logprobs)
    confidence = Confidence(
        score=exp(logprob),
        min_logprob=min(logprobs),
        first_margin=_margin(tokens[0]),
        tokens=len(tokens),
    )
    return Reading(confidence, logprob)


def _margin(token: JsonObject) -> float:
    """Return how far a token is ahead of the best alternative, in nats."""
    others = [
        other["logprob"]
        for other in token.get("top_logprobs") or ()
        if other["token"] != token["token"]
    ]
    return float(max(token["logprob"] - max(others), 0.0)) if others else 0.0
