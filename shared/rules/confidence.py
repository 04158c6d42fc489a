"""How sure a model was, read from the tokens of one chat completion: the one rule for serving and
for calibration.

Router and evaluator must read the same score from the same tokens, else a calibration fitted by one
misleads the other.
"""

from __future__ import annotations

from math import exp, fsum
from typing import Any

from schemas.base import Confidence

UNFINISHED = (
    "\ufffd".encode()
)  # how some servers print a token that holds only part of a character; vLLM prints nothing
LONGEST_GAP = 16  # bytes that such tokens may leave unaligned before the next whole token


def answer_tokens(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """The logprob entries that spell the answer: the end token and other special tokens are not in
    its text, so they drop out.
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
    """Where `piece` ends in `content` when it stands at `at` (or soon after unfinished characters);
    0 when it does not.
    """
    if not piece:
        return 0
    if content.startswith(piece, at):
        return at + len(piece)
    if piece.startswith(content[at:]):  # a stop string cut this token
        return len(content)
    if (
        at == 0 and piece.strip() and content.startswith(piece.lstrip())
    ):  # some tokenizers drop the first space
        return len(piece.lstrip())
    found = content.find(piece, at, at + LONGEST_GAP + len(piece)) if unaligned else -1
    return found + len(piece) if found >= 0 else 0


def read_confidence(choice: dict[str, Any]) -> Confidence:
    """Score 0 for an empty answer: saying nothing is never confident."""
    tokens = answer_tokens(choice)
    logprobs = [min(token["logprob"], 0.0) for token in tokens]
    if not tokens:
        return Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0)
    return Confidence(
        score=exp(fsum(logprobs)),
        min_logprob=min(logprobs),
        first_margin=_margin(tokens[0]),
        tokens=len(tokens),
    )


def _margin(token: dict[str, Any]) -> float:
    """How far the chosen first token is ahead of the best alternative, in nats."""
    others = [
        other["logprob"]
        for other in token.get("top_logprobs") or ()
        if other["token"] != token["token"]
    ]
    return max(token["logprob"] - max(others), 0.0) if others else 0.0
