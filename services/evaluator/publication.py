"""What an evaluation says when it is done: its events, and the content of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from schemas.base import BlobRef, JsonObject, uuid7
from schemas.events import AdapterEvaluated, AdapterTrained, CalibrationFitted, Probe
from services.evaluator.findings import Findings, report_rows
from services.evaluator.heldout import ArmAnswers, HeldOutRow


def adapter_evaluated(
    evaluation_id: str,
    trained: AdapterTrained,
    findings: Findings,
    probe: Probe | None,
    report: BlobRef | None,
    seconds: float,
) -> AdapterEvaluated:
    gate = findings.gate
    return AdapterEvaluated(
        tenant=trained.tenant,
        route=trained.route,
        evaluation_id=evaluation_id,
        adapter=trained.adapter,
        dataset_id=trained.dataset_id,
        verdict="promote" if gate.promote else "reject",
        reasons=gate.reasons,
        arms=findings.arms,
        tests=gate.tests,
        probe=probe,
        report=report,
        seconds=seconds,
    )


def calibrations_fitted(trained: AdapterTrained, findings: Findings) -> list[CalibrationFitted]:
    return [
        CalibrationFitted(
            tenant=trained.tenant,
            route=trained.route,
            calibration_id=uuid7(),
            adapter_id=adapter_id,
            alpha=trained.spec.targets.max_risk,
            **asdict(calibration),
        )
        for adapter_id, calibration in findings.calibrations.items()
    ]


def report_content(
    evaluation_id: str,
    trained: AdapterTrained,
    findings: Findings,
    rows: Sequence[HeldOutRow],
    answered: Sequence[ArmAnswers],
) -> JsonObject:
    """Return what the report's child process is given."""
    gate = findings.gate
    return {
        "evaluation_id": evaluation_id,
        "route": trained.route,
        "adapter_id": trained.adapter.adapter_id,
        "dataset_id": trained.dataset_id,
        "base_model": trained.base_model,
        "recipe": trained.recipe,
        "task": trained.spec.task,
        "max_risk": trained.spec.targets.max_risk,
        "promote": gate.promote,
        "reasons": list(gate.reasons),
        "rows": report_rows(rows, answered, trained.spec),
        "tests": [test.model_dump() for test in gate.tests],
        "arms": [arm.model_dump() for arm in findings.arms],
        "calibrations": [
            {"adapter_id": adapter_id} | asdict(calibration)
            for adapter_id, calibration in findings.calibrations.items()
        ],
    }
