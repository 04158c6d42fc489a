"""How sure a model was, read from the tokens of one chat completion.

The router that serves and the evaluator that calibrates must read the same score from the same
tokens, else a calibration that one fits misleads the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, log
from typing import NamedTuple

from schemas.base import Confidence, JsonObject
from shared.rules.completion import FREE, Bounds
from shared.rules.value_spans import Span, tokens_of, value_spans

# How some servers print a token that holds only part of a character; vLLM prints nothing.
UNFINISHED = "\ufffd".encode()
# Bytes that such tokens may leave unaligned before the next whole token.
LONGEST_GAP = 16
# Nats: what a grammar forbids is listed with -9999 among the alternatives.
FORBIDDEN = -1000.0


class Spelled(NamedTuple):
    """A token that spells a part of an answer."""

    token: JsonObject
    # Bytes of the answer. Tokens that share a character share its bytes, too.
    span: Span


def answer_tokens(choice: JsonObject) -> list[JsonObject]:
    """Return the logprob entries that spell the answer.

    The end token and other special tokens are not in its text, so they drop out.
    """
    content = (choice["message"].get("content") or "").encode("utf-8", "replace")
    return [token for token, _ in spelled(content, (choice.get("logprobs") or {}).get("content"))]


def spelled(content: bytes, tokens: Sequence[JsonObject] | None) -> list[Spelled]:
    """Return the tokens that spell a text, and where they stand in it."""
    found: list[Spelled] = []
    at = 0
    # Of tokens before which a character is not whole.
    waiting = 0
    for token in tokens or ():
        if at >= len(content):
            break
        piece = bytes(token.get("bytes") or b"") or token["token"].encode("utf-8", "replace")
        if end := _end_of(piece, content, at, waiting > 0):
            span = Span(at, end)
            for shared in range(len(found) - waiting, len(found)):
                found[shared] = Spelled(found[shared].token, span)
            found.append(Spelled(token, span))
            at = end
            waiting = 0
        elif not piece or UNFINISHED in piece:
            found.append(Spelled(token, Span(at, at + 1)))
            waiting += 1
    return found


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


def read_answer(choice: JsonObject, bounds: Bounds = FREE) -> Reading:
    """Read how sure the model was of its answer, and how probable it was.

    Of JSON the values alone count for confidence. An empty answer has score 0: saying nothing is
    never confident.
    """
    content = (choice["message"].get("content") or "").encode("utf-8", "replace")
    return read_text(content, (choice.get("logprobs") or {}).get("content"), bounds)


def read_text(content: bytes, tokens: Sequence[JsonObject] | None, bounds: Bounds) -> Reading:
    """Read how sure the model was of a text, which its tokens spell from the first one on."""
    found = spelled(content, tokens)
    if not found:
        return Reading(Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0), 0.0)
    logprobs = [min(one.token["logprob"], 0.0) for one in found]
    logprob = fsum(logprobs)
    if bounds.is_json and (values := _values(content, found)):
        return Reading(_of_values(values, found, logprobs, logprob), logprob)
    features = _of_text(found, logprobs, logprob) if bounds.is_text else None
    confidence = Confidence(
        score=exp(logprob),
        min_logprob=min(logprobs),
        first_margin=_margin(found[0].token),
        tokens=len(found),
        features=features,
    )
    return Reading(confidence, logprob)


def _values(content: bytes, found: Sequence[Spelled]) -> list[list[int]]:
    """Return the tokens of each value of a JSON text, by index; nothing where it has none."""
    spans = [one.span for one in found]
    return [told for told in tokens_of(value_spans(content), spans, content) if told]


def _of_values(
    values: Sequence[Sequence[int]],
    found: Sequence[Spelled],
    logprobs: Sequence[float],
    whole: float,
) -> Confidence:
    """Return the confidence in values: the probability that all of them are these."""
    each = [logprobs[at] for told in values for at in told]
    return Confidence(
        score=exp(fsum(each)),
        min_logprob=min(each),
        first_margin=_margin(found[values[0][0]].token),
        tokens=len(each),
        features={
            "values": len(values),
            "weakest": min(fsum(logprobs[at] for at in told) for told in values),
            "whole": whole,
        },
    )


def _of_text(
    found: Sequence[Spelled], logprobs: Sequence[float], logprob: float
) -> dict[str, float]:
    """Return what else tells of a text: its length misleads the sum, and a mean hides a bad
    token.
    """
    ordered = sorted(logprobs)
    entropies = [_entropy(one.token) for one in found]
    return {
        "mean": logprob / len(ordered),
        "q10": ordered[len(ordered) // 10],
        "q50": ordered[len(ordered) // 2],
        "entropy": fsum(entropies) / len(entropies),
        "entropy_max": max(entropies),
    }


def _entropy(token: JsonObject) -> float:
    """Return the least entropy (nats) of a token's distribution: what is not listed is one more
    alternative.
    """
    listed = [one["logprob"] for one in token.get("top_logprobs") or () if one["logprob"] < 0]
    known = [exp(one) for one in listed if one > FORBIDDEN]
    rest = 1.0 - fsum(known)
    tail = -rest * log(rest) if 0.0 < rest < 1.0 else 0.0
    return tail - fsum(exp(one) * one for one in listed if one > FORBIDDEN)


def _margin(token: JsonObject) -> float:
    """Return how far a token is ahead of the best alternative, in nats."""
    others = [
        other["logprob"]
        for other in token.get("top_logprobs") or ()
        if other["token"] != token["token"]
    ]
    return float(max(token["logprob"] - max(others), 0.0)) if others else 0.0
