"""A prompt that proves an adapter acts: the adapter answers it surely, and the base model, asked
the same, differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.events import Probe
from schemas.route import RouteSpec
from services.evaluator.heldout import ArmAnswers, HeldOutRow
from services.evaluator.ports import Generator
from shared.rules import Completion, fits_in_event

# Questions to the base model with the tuned prompt, each under a second.
TRIES = 8


@dataclass(frozen=True)
class ProbeCandidate:
    """A row that the base model was asked with the tuned prompt."""

    row: HeldOutRow
    base: Completion
    # How far apart adapter and base model put their answers' log-probabilities, in nats.
    gap: float


def candidates(rows: Sequence[HeldOutRow], challenger: ArmAnswers, base: ArmAnswers) -> list[int]:
    """Return the rows to try, by index: first those where the challenger differs from the base
    model, then the well-formed ones, then the most confident. None is too large for an event.
    """

    def rank(i: int) -> tuple[bool, bool, float]:
        marked = challenger.replies[i]
        return (
            marked.answer != base.replies[i].answer,
            marked.formatted,
            marked.reply.confidence.score,
        )

    spoken = [
        i
        for i, row in enumerate(rows)
        if challenger.replies[i].reply.confidence.tokens and fits_in_event(row.messages, "")
    ]
    return sorted(spoken, key=rank, reverse=True)[:TRIES]


async def choose_probe(
    generator: Generator,
    rows: Sequence[HeldOutRow],
    challenger: ArmAnswers,
    base: ArmAnswers,
    spec: RouteSpec,
) -> Probe | None:
    """Return the first candidate that tells adapter and base apart; else the one where their
    log-probabilities are furthest apart.
    """
    model = challenger.contender.model
    furthest: ProbeCandidate | None = None
    for i in candidates(rows, challenger, base):
        known = challenger.replies[i].reply
        reply = await generator.ask("base", spec.tuned_messages(rows[i].messages), spec.max_tokens)
        candidate = ProbeCandidate(rows[i], reply, abs(reply.logprob - known.logprob))
        if reply.answer != known.answer:
            return await _probe(generator, model, candidate, spec)
        if furthest is None or candidate.gap > furthest.gap:
            furthest = candidate
    return await _probe(generator, model, furthest, spec) if furthest else None


async def _probe(
    generator: Generator, model: str, chosen: ProbeCandidate, spec: RouteSpec
) -> Probe:
    """Ask the adapter once more and alone.

    In a batch of 16, bfloat16 sums differ slightly from what the router will see.
    """
    messages = chosen.row.messages
    reply = await generator.ask(model, spec.tuned_messages(messages), spec.max_tokens)
    return Probe(
        messages=messages,
        answer=reply.answer,
        logprob=reply.logprob,
        base_answer=chosen.base.answer,
        base_logprob=chosen.base.logprob,
    )
