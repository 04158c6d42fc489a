"""What is said of two answers to compare: a question to people, and what a judge model found."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import Message
from schemas.comparisons import AnswersCompared, ComparisonRequested, Judgement
from schemas.route import RouteSpec
from services.evaluator.comparisons import Pairing
from services.evaluator.ports import Judge
from shared.privacy import redact_but
from shared.rules import store_compared
from shared.storage import BlobStore

# What a judge says, in one word.
WORDS: dict[str, Judgement] = {"A": "left", "B": "right", "TIE": "tie", "NEITHER": "neither"}
SWAPPED: dict[Judgement, Judgement] = {"left": "right", "right": "left"}
JUDGE_TOKENS = 8
PROMPT = (
    "You compare two answers to one request. Say A or B for the one that serves the request better,"
    " TIE where both are as good, NEITHER where both are of no use. Say nothing else."
)


def comparison_requested(
    blobs: BlobStore,
    pairing: Pairing,
    tenant: str,
    spec: RouteSpec,
    messages: Sequence[Message],
    challenger: str,
    other: str,
) -> ComparisonRequested:
    """Ask people about a pair, redacted as its route has it; what is too large for an event goes by
    reference. Blocks while it writes.
    """
    redacting = redact_but(spec.personal.chosen)
    ours, theirs = redacting(challenger), redacting(other)
    left, right = (ours, theirs) if pairing.challenger == "left" else (theirs, ours)
    content = store_compared(blobs, messages, left, right)
    return ComparisonRequested(
        tenant=tenant,
        route=spec.name,
        comparison_id=pairing.comparison_id,
        evaluation_id=pairing.evaluation_id,
        messages=() if content else tuple(messages),
        left="" if content else left,
        right="" if content else right,
        content=content,
    )


def compared_by_model(
    tenant: str, route: str, pairing: Pairing, judgement: Judgement, by: str
) -> AnswersCompared:
    return AnswersCompared(
        tenant=tenant,
        route=route,
        comparison_id=pairing.comparison_id,
        evaluation_id=pairing.evaluation_id,
        judgement=judgement,
        judge="model",
        by=by,
    )


async def judge(model: Judge, messages: Sequence[Message], left: str, right: str) -> Judgement:
    """Ask a judge model twice, with the sides changed: what it says only of one order is a tie,
    because models favour a place. So is what it says in other words.
    """
    first = await _one_order(model, messages, left, right)
    second = await _one_order(model, messages, right, left)
    return first if first == SWAPPED.get(second, second) else "tie"


async def _one_order(model: Judge, messages: Sequence[Message], a: str, b: str) -> Judgement:
    request = "\n".join(f"{message.role}: {message.content}" for message in messages)
    asked = f"Request:\n{request}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}"
    turns = (Message(role="system", content=PROMPT), Message(role="user", content=asked))
    said = await model.say(turns, JUDGE_TOKENS)
    return WORDS.get(said.strip().strip(".").upper(), "tie")
