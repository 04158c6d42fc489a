"""Arms that answer in free text: what is measured of them, and which pairs of their answers people
are asked about (docs/methods.md, section 9). Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from schemas.evaluation import ArmResult
from schemas.route import RouteSpec
from services.evaluator.comparisons import Pairing, Tally, pairing
from services.evaluator.findings import Findings, arm_result
from services.evaluator.gates import (
    LEAST_ROWS,
    Checks,
    GateResult,
    Outcomes,
    check_format,
    too_few,
)
from services.evaluator.heldout import ArmAnswers, HeldOutRow, MarkedReply
from services.evaluator.texts import chrf, mean
from shared.privacy import redact_but

# A challenger that wins 65 of 100 decided pairs, of which a fifth are ties, is promoted within so
# many in 84 % of first attempts, half of the time within 82 (60 of 100: 42 %; 70 of 100: 99 %).
MOST = 200


class Pair(NamedTuple):
    """A question to people, with the answers of challenger and other arm."""

    pairing: Pairing
    row: HeldOutRow
    ours: str
    theirs: str

    @property
    def sides(self) -> tuple[str, str]:
        """Return the answers as they are shown, left and right."""
        return (
            (self.ours, self.theirs)
            if self.pairing.challenger == "left"
            else (self.theirs, self.ours)
        )


@dataclass(frozen=True)
class Drawn:
    """What becomes of the pairs of an evaluation."""

    asked: tuple[Pair, ...]
    settled: Tally

    @property
    def pairs(self) -> int:
        return len(self.asked) + self.settled.judged


def examine(
    rows: Sequence[HeldOutRow], answered: Sequence[ArmAnswers], spec: RouteSpec
) -> Findings:
    """Measure the arms, and refuse what people need not be asked about: too few rows, or a form
    that is broken more often. The reasons say "rejected" then.
    """
    arms = tuple(measured(rows, arm, spec) for arm in answered)
    if len(rows) < LEAST_ROWS:
        gate = GateResult(promote=False, tests=(), reasons=(too_few(len(rows)),))
        return Findings(gate, arms, calibrations=())
    checks = Checks()
    *others, challenger = map(forms_of, answered)
    for other in others:
        check_format(checks, challenger, other)
    reasons = tuple(checks.words)
    if not checks.passed:
        reasons = ("rejected: before anybody was asked", *reasons)
    return Findings(GateResult(checks.passed, (), reasons), arms, calibrations=())


def measured(rows: Sequence[HeldOutRow], arm: ArmAnswers, spec: RouteSpec) -> ArmResult:
    """Return how an arm did; of the texts only how near they are to the approved ones."""
    known = [place for place, row in enumerate(rows) if not row.is_rejected]
    found = arm_result([rows[i] for i in known], arm.at(known), spec, {})
    nearness = mean(chrf, [rows[i].answer for i in known], [arm.replies[i].answer for i in known])
    kept = sum(map(keeps_form, arm.replies)) / max(len(rows), 1)
    return found.model_copy(
        update={"accuracy": 0.0, "n": len(rows), "format_compliance": kept, "chrf": nearness}
    )


def keeps_form(marked: MarkedReply) -> bool:
    """Say whether an answer is whole: what was cut at `max_tokens` is none."""
    return marked.formatted and marked.reply.finish_reason != "length"


def forms_of(arm: ArmAnswers) -> Outcomes:
    kept = [keeps_form(marked) for marked in arm.replies]
    return Outcomes(arm=arm.contender.arm, correct=kept, formatted=kept)


def drawn(
    evaluation_id: str,
    rows: Sequence[HeldOutRow],
    challenger: ArmAnswers,
    other: ArmAnswers,
    spec: RouteSpec,
) -> Drawn:
    """Return MOST pairs at random, always the same, in the order in which people get them.

    Equal answers are ties, and an answer that breaks the form has lost to one that keeps it. What
    the other breaks people are asked about: each win has a person behind it.
    """
    redacting = redact_but(spec.personal.chosen)
    made = [
        (pairing(evaluation_id, row.row_id, other.contender.arm), place)
        for place, row in enumerate(rows)
    ]
    asked: list[Pair] = []
    settled: Counter[str] = Counter()
    for one, place in sorted(made, key=lambda pair: pair[0].comparison_id)[:MOST]:
        ours, theirs = challenger.replies[place], other.replies[place]
        texts = redacting(ours.answer), redacting(theirs.answer)
        if known := outcome_of(ours, theirs, same=texts[0] == texts[1]):
            settled[known] += 1
        else:
            asked.append(Pair(one, rows[place], *texts))
    return Drawn(tuple(asked), Tally(**settled))


def outcome_of(
    ours: MarkedReply, theirs: MarkedReply, *, same: bool
) -> Literal["losses", "ties", "neither"] | None:
    """Return what is known of a pair before anybody looks at it; None where people must."""
    if not keeps_form(ours):
        return "losses" if keeps_form(theirs) else "neither"
    return "ties" if same else None
