"""Valid events in one call; keyword arguments replace what a test is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from schemas.base import AdapterRef, BlobRef, Confidence, Message, uuid7
from schemas.comparisons import AnswersCompared, ComparisonRequested
from schemas.evaluation import ArmResult, PairedTest, Probe
from schemas.events import (
    AdapterEvaluated,
    AdapterTrained,
    CalibrationFitted,
    DatasetBuilt,
    DriftDetected,
    FeedbackRecorded,
    InferenceRecorded,
    ReviewCompleted,
    ReviewRequested,
    RouteChanged,
    SplitSizes,
    TrainingProgressed,
)
from schemas.monitoring import RetrainHeld, Statistic
from schemas.route import RouteSpec
from shared.rules import population

ROUTE = "acme/support-triage"
SURROGATE_SECRET = "made-up-for-tests-and-nothing-else"  # pragma: allowlist secret
USER = (Message(role="user", content="Where is my parcel? It was due on Monday."),)
COMMON: dict[str, Any] = {"tenant": "acme", "route": ROUTE}


def blob(name: str = "x") -> BlobRef:
    return BlobRef(uri=f"file:///artifacts/{name}", sha256="ab" * 32)


def spec(**changes: Any) -> RouteSpec:
    return RouteSpec(
        **(
            {
                "name": ROUTE,
                "labels": ("delivery", "refund", "password"),
                "system_prompt": "Classify the message.",
                "detailed_prompt": "Choose one of: {labels}.",
                "minimum_per_label": 2,
            }
            | changes
        )
    )


def adapter(digest: str = "0123456789ab") -> AdapterRef:
    return AdapterRef(adapter_id=f"acme--support-triage@{digest}", blob=blob(f"adapters/{digest}"))


def confidence(**changes: Any) -> Confidence:
    return Confidence(
        **({"score": 0.9, "min_logprob": -0.1, "first_margin": 2.0, "tokens": 2} | changes)
    )


def inference(**changes: Any) -> InferenceRecorded:
    return InferenceRecorded(
        **(
            COMMON
            | {
                "inference_id": uuid7(),
                "messages": USER,
                "answer": "delivery",
                "arm": "base",
                "model": "base",
                "confidence": confidence(),
                "outcome": "confident",
            }
            | changes
        )
    )


def feedback(**changes: Any) -> FeedbackRecorded:
    return FeedbackRecorded(
        **(
            COMMON
            | {
                "feedback_id": uuid7(),
                "inference_id": uuid7(),
                "kind": "rating",
                "value": 1.0,
                "source": "key_1",
            }
            | changes
        )
    )


def review_requested(**changes: Any) -> ReviewRequested:
    return ReviewRequested(
        **(COMMON | {"inference_id": uuid7(), "confidence": confidence(score=0.2)} | changes)
    )


def review(**changes: Any) -> ReviewCompleted:
    return ReviewCompleted(
        **(
            COMMON
            | {
                "review_id": uuid7(),
                "inference_id": uuid7(),
                "verdict": "corrected",
                "messages": USER,
                "model_answer": "refund",
                "answer": "delivery",
                "reviewer": "ada",
                "reason": "sampled",
                "audit": False,
                "probability": 0.5,
                "coin": 0.3,
                "arm": "base",
            }
            | changes
        )
    )


def drift(**changes: Any) -> DriftDetected:
    return DriftDetected(
        **(
            COMMON
            | {
                "drift_id": uuid7(),
                "monitor": "input",
                "reference_size": 100,
                "window_size": 50,
                "statistics": (
                    Statistic(
                        name="confidence-ks", value=0.5, threshold=0.2, p_value=0.0001, fired=True
                    ),
                ),
            }
            | changes
        )
    )


def held(**changes: Any) -> RetrainHeld:
    return RetrainHeld(
        **(
            COMMON
            | {
                "brake": "cooldown",
                "because": "200 new verdicts (the route asks for 200)",
                "until": datetime(2026, 3, 2, 15, tzinfo=UTC),
            }
            | changes
        )
    )


def dataset(**changes: Any) -> DatasetBuilt:
    return DatasetBuilt(
        **(
            COMMON
            | {
                "dataset_id": "acme--support-triage@3f9c3f9c3f9c",
                "blob": blob("datasets/3f9c"),
                "labels": {"delivery": 10},
                "rows": SplitSizes(train=10, validation=2, test=2, audit=3),
                "because": "enough new verdicts",
                "recipe": "tiny-cpu",
                "spec": spec(),
            }
            | changes
        )
    )


def progressed(**changes: Any) -> TrainingProgressed:
    return TrainingProgressed(
        **(
            COMMON
            | {
                "job_id": uuid7(),
                "dataset_id": "acme--support-triage@3f9c3f9c3f9c",
                "state": "running",
                "step": 5,
                "steps": 50,
            }
            | changes
        )
    )


def trained(**changes: Any) -> AdapterTrained:
    return AdapterTrained(
        **(
            COMMON
            | {
                "adapter": adapter(),
                "dataset_id": "acme--support-triage@3f9c3f9c3f9c",
                "dataset": blob("datasets/3f9c"),
                "base_model": "SmolLM2-135M-Instruct",
                "recipe": "tiny-cpu",
                "recipe_sha256": "cd" * 32,
                "rank": 16,
                "train_loss": 0.1,
                "seconds": 60.0,
                "job_id": uuid7(),
                "spec": spec(),
            }
            | changes
        )
    )


def evaluated(**changes: Any) -> AdapterEvaluated:
    arms = tuple(
        ArmResult(
            arm=arm,
            n=80,
            accuracy=value,
            format_compliance=1.0,
            latency_p50_ms=200,
            latency_p95_ms=400,
        )
        for arm, value in (("base", 0.2), ("challenger", 0.8))
    )
    return AdapterEvaluated(
        **(
            COMMON
            | {
                "evaluation_id": uuid7(),
                "adapter": adapter(),
                "dataset_id": "acme--support-triage@3f9c3f9c3f9c",
                "verdict": "promote",
                "reasons": ("better than base: p=0.0001",),
                "arms": arms,
                "seconds": 20.0,
                "tests": (
                    PairedTest(
                        against="base", wins=50, losses=2, p_value=0.0001, alpha=0.05, passed=True
                    ),
                ),
                "probe": Probe(messages=USER, answer="delivery", logprob=-0.1, base_logprob=-4.0),
            }
            | changes
        )
    )


def calibration(of: RouteSpec | None = None, **changes: Any) -> CalibrationFitted:
    """Return a calibration that holds for an arm of a route (`of`) on an engine that tells no
    release.
    """
    adapter_id = changes.get("adapter_id", adapter().adapter_id)
    return CalibrationFitted(
        **(
            COMMON
            | {
                "calibration_id": uuid7(),
                "adapter_id": adapter_id,
                "holds_for": population(of or spec(), adapter_id, "", 0),
                "slope": 1.0,
                "intercept": 0.0,
                "threshold": 0.7,
                "n": 100,
                "errors": 20,
                "brier": 0.1,
                "alpha": 0.1,
                "certified": True,
                "coverage": 0.6,
            }
            | changes
        )
    )


def route_changed(**changes: Any) -> RouteChanged:
    return RouteChanged(
        **(COMMON | {"version": 1, "spec": spec(), "because": "created", "actor": "ada"} | changes)
    )


def comparison_requested(**changes: Any) -> ComparisonRequested:
    return ComparisonRequested.model_validate(
        {
            "tenant": "acme",
            "route": ROUTE,
            "comparison_id": "pair-1",
            "evaluation_id": "evaluation-1",
            "messages": (Message(role="user", content="Summarise this."),),
            "left": "short",
            "right": "a longer one",
        }
        | changes
    )


def answers_compared(**changes: Any) -> AnswersCompared:
    return AnswersCompared.model_validate(
        {
            "tenant": "acme",
            "route": ROUTE,
            "comparison_id": "pair-1",
            "evaluation_id": "evaluation-1",
            "judgement": "left",
            "judge": "person",
            "by": "ada",
        }
        | changes
    )
