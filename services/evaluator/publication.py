"""What an evaluation says when it is done: its events, and the content of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from schemas.answers import is_free_text
from schemas.base import BlobRef, JsonObject, uuid7
from schemas.evaluation import Probe
from schemas.events import AdapterEvaluated, AdapterTrained, CalibrationFitted
from schemas.route import RouteSpec
from services.evaluator.findings import Findings, Fitted, report_rows
from services.evaluator.heldout import ArmAnswers, HeldOutRow
from services.evaluator.spending import LIFE, level, share
from shared.rules import Grammar, form_of, population


def adapter_evaluated(
    evaluation_id: str,
    trained: AdapterTrained,
    findings: Findings,
    probe: Probe | None,
    report: BlobRef | None,
    seconds: float,
    grammar: Grammar,
    attempt: int | None,
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
        holds_for=holds_for(trained.spec, trained.adapter.adapter_id, grammar),
        groups=gate.groups,
        attempt=attempt,
        rows_for_five_points=gate.rows_for_five_points,
    )


def calibrations_fitted(
    trained: AdapterTrained, found: Sequence[Fitted], grammar: Grammar
) -> list[CalibrationFitted]:
    """Return the events of what was found of each arm, as the engine was asked; of a base model
    behind an adapter after that adapter's own, whose id it names.
    """
    ids = {fitted.adapter_id: uuid7() for fitted in found if fitted.behind is None}
    return [
        CalibrationFitted(
            tenant=trained.tenant,
            route=trained.route,
            calibration_id=uuid7() if fitted.behind else ids[fitted.adapter_id],
            adapter_id=fitted.adapter_id,
            alpha=trained.spec.targets.max_risk,
            holds_for=holds_for(trained.spec, fitted.adapter_id, grammar),
            behind=ids[fitted.behind] if fitted.behind else None,
            **asdict(fitted.calibration),
        )
        for fitted in found
    ]


def holds_for(spec: RouteSpec, adapter_id: str | None, grammar: Grammar) -> str:
    """Return the digest of how an arm was asked."""
    return population(spec, adapter_id, grammar.engine, grammar.step(form_of(spec)))


def report_content(
    evaluation_id: str,
    trained: AdapterTrained,
    findings: Findings,
    rows: Sequence[HeldOutRow],
    answered: Sequence[ArmAnswers],
    promoted: Sequence[bool],
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
        "free_text": is_free_text(trained.spec),
        "max_risk": trained.spec.targets.max_risk,
        "promote": gate.promote,
        "reasons": list(gate.reasons),
        "rows": report_rows(rows, answered, trained.spec),
        "tests": [test.model_dump() for test in gate.tests],
        "groups": [group.model_dump() for group in gate.groups],
        "rows_for_five_points": gate.rows_for_five_points,
        "attempt": len(promoted) + 1,
        "alpha": level(promoted),
        "alpha_left": LIFE * (1 - sum(share(k + 1) for k in range(len(promoted) + 1))),
        "guarantee": trained.spec.guarantee,
        "target": trained.spec.targets.accuracy,
        "arms": [arm.model_dump() for arm in findings.arms],
        "calibrations": [
            {"adapter_id": fitted.adapter_id, "behind": fitted.behind} | asdict(fitted.calibration)
            for fitted in findings.calibrations
        ],
    }
