"""A prompt that proves an adapter acts: the adapter answers it surely, and the base model, asked
the same, differently.
"""

from __future__ import annotations

from schemas.events import Probe
from schemas.route import RouteSpec
from services.evaluator.heldout import Answered, HeldOutRow
from services.evaluator.ports import Generator, Reply

TRIES = 8  # questions to the base model with the tuned prompt, each under a second


def candidates(rows: list[HeldOutRow], challenger: Answered, base: Answered) -> list[int]:
    """Rows in the order they should be tried: differing from base, then well-formed, then most
    confident.
    """

    def rank(i: int) -> tuple[bool, bool, float]:
        return (
            challenger.answers[i] != base.answers[i],
            challenger.formatted[i],
            challenger.replies[i].confidence.score,
        )

    answered = [i for i in range(len(rows)) if challenger.replies[i].confidence.tokens]
    return sorted(answered, key=rank, reverse=True)[:TRIES]


async def choose_probe(
    generator: Generator,
    rows: list[HeldOutRow],
    challenger: Answered,
    base: Answered,
    spec: RouteSpec,
) -> Probe | None:
    """The first candidate that tells adapter and base apart; else the one where their
    log-probabilities are furthest apart.
    """
    furthest: tuple[float, int, Reply] | None = None
    for i in candidates(rows, challenger, base):
        reply = await generator.ask("base", spec.tuned_messages(rows[i].messages), spec.max_tokens)
        if reply.answer != challenger.replies[i].answer:
            return await _probe(generator, rows[i], challenger, reply, spec)
        gap = abs(reply.logprob - challenger.replies[i].logprob)
        furthest = max(furthest or (gap, i, reply), (gap, i, reply), key=lambda found: found[0])
    return (
        await _probe(generator, rows[furthest[1]], challenger, furthest[2], spec)
        if furthest
        else None
    )


async def _probe(
    generator: Generator, row: HeldOutRow, challenger: Answered, base: Reply, spec: RouteSpec
) -> Probe:
    """Asked once more and alone: in a batch of 16 bfloat16 sums differ slightly from what the
    router will see.
    """
    reply = await generator.ask(
        challenger.contender.model, spec.tuned_messages(row.messages), spec.max_tokens
    )
    return Probe(
        messages=row.messages,
        answer=reply.answer,
        logprob=reply.logprob,
        base_answer=base.answer,
        base_logprob=base.logprob,
    )
