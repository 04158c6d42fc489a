"""What is said of two answers to compare: a question to people, and what a judge model found."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.base import Message
from schemas.comparisons import AnswersCompared, ComparisonRequested, Judgement
from services.evaluator.comparisons import Pairing
from services.evaluator.ports import Generator
from shared.rules import Bounds, Form, redact, store_compared
from shared.storage import BlobStore

# A judge says one word, held to these where its engine can.
WORDS: dict[str, Judgement] = {"A": "left", "B": "right", "TIE": "tie", "NEITHER": "neither"}
SWAPPED: dict[Judgement, Judgement] = {"left": "right", "right": "left"}
JUDGE_TOKENS = 8
ONE_WORD = Form((Bounds(choices=tuple(WORDS)), Bounds()), "judge")
PROMPT = (
    "You compare two answers to one request. Say A or B for the one that serves the request better,"
    " TIE where both are as good, NEITHER where both are of no use. Say nothing else."
)


def comparison_requested(
    blobs: BlobStore,
    pairing: Pairing,
    tenant: str,
    route: str,
    messages: Sequence[Message],
    challenger: str,
    other: str,
) -> ComparisonRequested:
    """Ask people about a pair, redacted; what is too large for an event goes by reference. Blocks
    while it writes.
    """
    ours, theirs = redact(challenger), redact(other)
    left, right = (ours, theirs) if pairing.challenger == "left" else (theirs, ours)
    content = store_compared(blobs, messages, left, right)
    return ComparisonRequested(
        tenant=tenant,
        route=route,
        comparison_id=pairing.comparison_id,
        evaluation_id=pairing.evaluation_id,
        messages=() if content else tuple(messages),
        left="" if content else left,
        right="" if content else right,
        content=content,
    )


def compared_by_model(asked: ComparisonRequested, judgement: Judgement, by: str) -> AnswersCompared:
    return AnswersCompared(
        tenant=asked.tenant,
        route=asked.route,
        comparison_id=asked.comparison_id,
        evaluation_id=asked.evaluation_id,
        judgement=judgement,
        judge="model",
        by=by,
    )


async def judge(
    generator: Generator, model: str, messages: Sequence[Message], left: str, right: str
) -> Judgement:
    """Ask a judge model twice, with the sides changed: what it says only of one order is a tie,
    because models favour a place. So is what it says in other words.
    """
    first = await _one_order(generator, model, messages, left, right)
    second = await _one_order(generator, model, messages, right, left)
    return first if first == SWAPPED.get(second, second) else "tie"


async def _one_order(
    generator: Generator, model: str, messages: Sequence[Message], a: str, b: str
) -> Judgement:
    request = "\n".join(f"{message.role}: {message.content}" for message in messages)
    asked = f"Request:\n{request}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}"
    turns = (Message(role="system", content=PROMPT), Message(role="user", content=asked))
    said = await generator.ask(model, turns, JUDGE_TOKENS, ONE_WORD)
    return WORDS.get(said.answer.strip().strip(".").upper(), "tie")
