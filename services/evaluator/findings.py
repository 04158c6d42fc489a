"""From the arms' replies to the numbers of an evaluation: pure, CPU-bound, run in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.answers import normalise
from schemas.events import ArmResult
from schemas.route import RouteSpec
from services.evaluator.calibration import Calibration, calibrate
from services.evaluator.gates import Decision, Outcomes, decide
from services.evaluator.heldout import Answered, HeldOutRow
from services.evaluator.metrics import accuracy, field_f1, macro_f1, percentile, rouge_l


@dataclass(frozen=True)
class Findings:
    decision: Decision
    arms: tuple[ArmResult, ...]
    calibrations: dict[
        str | None, Calibration
    ]  # by adapter_id; None is the base model with the detailed prompt


def judge(rows: list[HeldOutRow], answered: list[Answered], spec: RouteSpec) -> Findings:
    """Metrics and calibration of every arm, and the gate's decision about the challenger."""
    outcomes = {
        marked.contender.arm: Outcomes(marked.contender.arm, marked.correct, marked.formatted)
        for marked in answered
    }
    challenger = outcomes.pop("challenger")
    return Findings(
        decide(challenger, list(outcomes.values())),
        tuple(arm_result(rows, marked, spec) for marked in answered),
        {marked.contender.adapter_id: calibrated(marked, spec) for marked in answered},
    )


def arm_result(rows: list[HeldOutRow], marked: Answered, spec: RouteSpec) -> ArmResult:
    expected = [normalise(row.answer, spec) for row in rows]
    latency = [reply.latency_ms for reply in marked.replies if reply.latency_ms]
    return ArmResult(
        arm=marked.contender.arm,
        adapter_id=marked.contender.adapter_id,
        n=len(rows),
        accuracy=accuracy(expected, marked.answers),
        macro_f1=quality(expected, list(marked.answers), spec),
        format_compliance=sum(marked.formatted) / max(len(rows), 1),
        latency_p50_ms=percentile(latency, 50),
        latency_p95_ms=percentile(latency, 95),
    )


def quality(expected: list[str], answers: list[str], spec: RouteSpec) -> float | None:
    """F1 as it is meant for the task: over labels, over fields, or (free text) the mean ROUGE-L."""
    if not expected:
        return None
    if spec.task == "classification":
        return macro_f1(expected, answers)
    if spec.output_schema is not None:
        return field_f1(expected, answers)
    return float(np.mean([rouge_l(want, got) for want, got in zip(expected, answers, strict=True)]))


def calibrated(marked: Answered, spec: RouteSpec) -> Calibration:
    score = np.array([reply.confidence.score for reply in marked.replies], dtype=float)
    return calibrate(score, np.array(marked.correct, dtype=bool), spec.targets.max_risk)


def report_rows(
    rows: list[HeldOutRow], answered: list[Answered], spec: RouteSpec
) -> list[dict[str, Any]]:
    """The rows as the report's child reads them."""
    return [
        {
            "row_id": row.row_id,
            "split": row.split,
            "text": row.text,
            "expected": normalise(row.answer, spec),
            "answers": {marked.contender.arm: marked.answers[i] for marked in answered},
            "scores": {
                marked.contender.arm: marked.replies[i].confidence.score for marked in answered
            },
        }
        for i, row in enumerate(rows)
    ]
