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
from services.evaluator.gates import GateResult, Outcomes, judge_challenger
from services.evaluator.heldout import ArmAnswers, HeldOutRow
from services.evaluator.metrics import field_f1, macro_f1, percentile, rouge_l


@dataclass(frozen=True)
class Findings:
    gate: GateResult
    arms: tuple[ArmResult, ...]
    # By adapter_id; None is the base model with the detailed prompt.
    calibrations: dict[str | None, Calibration]


def judge(rows: Sequence[HeldOutRow], answered: Sequence[ArmAnswers], spec: RouteSpec) -> Findings:
    """Measure and calibrate every arm, and let the gate decide about the challenger."""
    outcomes = {arm.contender.arm: outcomes_of(arm) for arm in answered}
    challenger = outcomes.pop("challenger")
    return Findings(
        gate=judge_challenger(challenger, list(outcomes.values())),
        arms=tuple(arm_result(rows, arm, spec) for arm in answered),
        calibrations={arm.contender.adapter_id: calibrated(arm, spec) for arm in answered},
    )


def outcomes_of(arm: ArmAnswers) -> Outcomes:
    return Outcomes(
        arm=arm.contender.arm,
        correct=[marked.correct for marked in arm.replies],
        formatted=[marked.formatted for marked in arm.replies],
    )


def arm_result(rows: Sequence[HeldOutRow], arm: ArmAnswers, spec: RouteSpec) -> ArmResult:
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
        strata=accuracy_by_stratum(rows, arm),
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
    return float(np.mean([rouge_l(want, got) for want, got in zip(expected, answers, strict=True)]))


def calibrated(arm: ArmAnswers, spec: RouteSpec) -> Calibration:
    score = np.array([marked.reply.confidence.score for marked in arm.replies], dtype=float)
    correct = np.array([marked.correct for marked in arm.replies], dtype=bool)
    return calibrate(score, correct, spec.targets.max_risk)


def report_rows(
    rows: Sequence[HeldOutRow], answered: Sequence[ArmAnswers], spec: RouteSpec
) -> list[JsonObject]:
    """Return the rows as the report's child process reads them."""
    return [
        {
            "row_id": row.row_id,
            "split": row.split,
            "text": row.text,
            "expected": normalise(row.answer, spec),
            "answers": {arm.contender.arm: arm.replies[i].answer for arm in answered},
            "scores": {
                arm.contender.arm: arm.replies[i].reply.confidence.score for arm in answered
            },
        }
        for i, row in enumerate(rows)
    ]
