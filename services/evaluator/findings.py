"""From the arms' replies to the numbers of an evaluation: pure, CPU-bound, run in a thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.answers import normalise
from schemas.base import JsonObject
from schemas.evaluation import ArmResult
from schemas.route import RouteSpec
from services.evaluator.calibration import Calibration, calibrate
from services.evaluator.certificate import Floats
from services.evaluator.gates import GateResult, Outcomes, Terms, judge_challenger
from services.evaluator.heldout import DECIDING, ArmAnswers, HeldOutRow, deciding
from services.evaluator.metrics import field_f1, macro_f1, percentile
from services.evaluator.texts import mean, rouge_l
from shared.privacy import redact


@dataclass(frozen=True)
class Findings:
    gate: GateResult
    arms: tuple[ArmResult, ...]
    calibrations: tuple[Fitted, ...]


@dataclass(frozen=True)
class Fitted:
    """The calibration of one arm; the base model, whose adapter_id is None, with the detailed
    prompt.
    """

    adapter_id: str | None
    calibration: Calibration
    # The adapter of whose answers only those that are not trusted reach this arm.
    behind: str | None = None


def judge(
    rows: Sequence[HeldOutRow],
    answered: Sequence[ArmAnswers],
    spec: RouteSpec,
    alpha: float,
    missed: float | None = None,
) -> Findings:
    """Measure and calibrate every arm, and let the gate decide about the challenger at the level
    `alpha`. `missed` as for `calibrate`.
    """
    audited, said = deciding(rows, answered)
    outcomes = {arm.contender.arm: outcomes_of(arm) for arm in said}
    challenger = outcomes.pop("challenger")
    strict = spec.guarantee == "strict"
    terms = Terms(
        alpha=alpha,
        labels=labels_of(audited, spec),
        slices=slices_of(audited, spec),
        target=spec.targets.accuracy if strict else 0.0,
    )
    return Findings(
        gate=judge_challenger(challenger, list(outcomes.values()), terms),
        arms=tuple(
            arm_result(audited, arm, spec, accuracy_by_stratum(rows, whole))
            for arm, whole in zip(said, answered, strict=True)
        ),
        calibrations=calibrations_of(said, spec, missed),
    )


def labels_of(rows: Sequence[HeldOutRow], spec: RouteSpec) -> list[str]:
    """Return the right label of each row, "" where there is none; nothing for other tasks."""
    if spec.task != "classification":
        return []
    return ["" if row.is_rejected else normalise(row.answer, spec) for row in rows]


def slices_of(rows: Sequence[HeldOutRow], spec: RouteSpec) -> dict[str, list[str]]:
    """Return by key the value of each row, "" where it has none."""
    return {key: [row.slices.get(key, "") for row in rows] for key in spec.slices}


def calibrations_of(
    answered: Sequence[ArmAnswers], spec: RouteSpec, missed: float | None
) -> tuple[Fitted, ...]:
    """Calibrate each arm on all rows, and the base model on those that reach it behind each
    adapter: they are the hard ones.
    """
    found = [Fitted(arm.contender.adapter_id, calibrated(arm, spec, missed)) for arm in answered]
    base = next((arm for arm in answered if arm.contender.adapter_id is None), None)
    if base is None:
        return tuple(found)
    best_effort = spec.guarantee == "best-effort"
    for arm, fitted in zip(answered, list(found), strict=True):
        if fitted.adapter_id is not None:
            trusted = fitted.calibration.trusts(scores_of(arm), best_effort=best_effort)
            reached = base.at(np.flatnonzero(~trusted).tolist())
            behind = calibrated(reached, spec, missed)
            found.append(Fitted(None, behind, behind=fitted.adapter_id))
    return tuple(found)


def outcomes_of(arm: ArmAnswers) -> Outcomes:
    return Outcomes(
        arm=arm.contender.arm,
        correct=[marked.correct for marked in arm.replies],
        formatted=[marked.formatted for marked in arm.replies],
    )


def arm_result(
    rows: Sequence[HeldOutRow], arm: ArmAnswers, spec: RouteSpec, strata: dict[str, float]
) -> ArmResult:
    expected = [normalise(row.answer, spec) for row in rows]
    answers = [marked.answer for marked in arm.replies]
    # 0 where the engine refused the question: no latency was measured.
    latency = [marked.reply.latency_ms for marked in arm.replies if marked.reply.latency_ms]
    return ArmResult(
        arm=arm.contender.arm,
        adapter_id=arm.contender.adapter_id,
        n=len(rows),
        accuracy=sum(marked.correct for marked in arm.replies) / max(len(rows), 1),
        macro_f1=quality(expected, answers, spec),
        format_compliance=sum(marked.formatted for marked in arm.replies) / max(len(rows), 1),
        latency_p50_ms=percentile(latency, 50),
        latency_p95_ms=percentile(latency, 95),
        strata=strata,
    )


def accuracy_by_stratum(rows: Sequence[HeldOutRow], arm: ArmAnswers) -> dict[str, float]:
    marks: dict[str, list[bool]] = defaultdict(list)
    for row, marked in zip(rows, arm.replies, strict=True):
        marks[row.stratum].append(marked.correct)
    return {name: sum(some) / len(some) for name, some in sorted(marks.items())}


def quality(expected: list[str], answers: list[str], spec: RouteSpec) -> float | None:
    """Return the F1 that fits the task: over labels, over fields, or the mean ROUGE-L of free
    text.
    """
    if not expected:
        return None
    if spec.task == "classification":
        return macro_f1(expected, answers)
    if spec.output_schema is not None:
        return field_f1(expected, answers)
    return mean(rouge_l, expected, answers)


def calibrated(arm: ArmAnswers, spec: RouteSpec, missed: float | None) -> Calibration:
    correct = np.array([marked.correct for marked in arm.replies], dtype=bool)
    return calibrate(scores_of(arm), correct, spec.targets.max_risk, missed)


def scores_of(arm: ArmAnswers) -> Floats:
    return np.array([marked.reply.confidence.score for marked in arm.replies], dtype=float)


def report_rows(
    rows: Sequence[HeldOutRow], answered: Sequence[ArmAnswers], spec: RouteSpec
) -> list[JsonObject]:
    """Return the rows as the report's child process reads them: redacted, since an answer may be
    anything that a model has ever read, and a dataset may be older than today's rules.
    """
    return [
        {
            "row_id": row.row_id,
            "decides": row.split == DECIDING,
            "right": [arm.contender.arm for arm in answered if arm.replies[i].correct],
            "stratum": row.stratum,
            "text": redact(row.text),
            "expected": "(no answer fits)"
            if row.is_rejected
            else normalise(redact(row.answer), spec),
            "answers": {arm.contender.arm: redact(arm.replies[i].answer) for arm in answered},
            "scores": {
                arm.contender.arm: arm.replies[i].reply.confidence.score for arm in answered
            },
        }
        for i, row in enumerate(rows)
    ]
