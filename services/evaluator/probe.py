"""A prompt that proves an adapter acts: the adapter answers it surely, and the base model, asked
the same, differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.evaluation import Probe
from schemas.route import RouteSpec
from services.evaluator.heldout import ArmAnswers, HeldOutRow
from services.evaluator.ports import Generator, NoAnswer
from shared.rules import Completion, fits_in_event, freely

# Rows that both are asked, each under two seconds.
TRIES = 8


@dataclass(frozen=True)
class ProbeCandidate:
    """A row that adapter and base model were asked with the tuned prompt."""

    row: HeldOutRow
    tuned: Completion
    plain: Completion

    @property
    def gap(self) -> float:
        """Return how far apart the two put their answers' log-probabilities, in nats."""
        return abs(self.tuned.logprob - self.plain.logprob)

    @property
    def probe(self) -> Probe:
        return Probe(
            messages=self.row.messages,
            answer=self.tuned.answer,
            logprob=self.tuned.logprob,
            base_answer=self.plain.answer,
            base_logprob=self.plain.logprob,
        )


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
    form = freely(spec)
    for i in candidates(rows, challenger, base):
        asked = spec.tuned_messages(rows[i].messages)
        # Freely, as the router asks a probe, and alone: in a batch of 16, bfloat16 sums differ
        # slightly from what the router will see.
        try:
            tuned = await generator.ask(model, asked, spec.max_tokens, form)
        except NoAnswer:
            # Raises EngineAway where it is not the adapter's fault.
            await generator.ask("base", asked, spec.max_tokens, form)
            continue
        if not tuned.confidence.tokens:
            continue
        plain = await generator.ask("base", asked, spec.max_tokens, form)
        candidate = ProbeCandidate(rows[i], tuned, plain)
        if tuned.answer != plain.answer:
            return candidate.probe
        if furthest is None or candidate.gap > furthest.gap:
            furthest = candidate
    return furthest.probe if furthest else None
