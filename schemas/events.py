"""Every event of Ratchet. The docstring of a class is its documentation: the fact, who states it,
and when.
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import (
    AdapterRef,
    Arm,
    Attempt,
    BlobRef,
    Confidence,
    Event,
    JsonObject,
    Message,
    SecondOf,
    Slices,
    Tools,
    Value,
    is_unset,
)
from schemas.comparisons import COMPARISONS
from schemas.evaluation import ArmResult, GroupTest, PairedTest, Probe
from schemas.monitoring import RetrainHeld, Statistic
from schemas.route import HeardSpec

Verdict = Literal["approved", "corrected", "rejected"]


class InferenceRecorded(Event):
    """An app asked and a model answered. Said by the router, or by capture for apps that call other
    models.
    """

    inference_id: str
    messages: tuple[Message, ...] = Field(
        description="what the app sent, redacted; empty when `content` refers to it"
    )
    answer: str = Field(description="what the app got, redacted")
    arm: Arm
    model: str
    adapter_id: str | None = None
    confidence: Confidence | None = None
    outcome: Literal["confident", "fell_back", "unsure", "external"] = "external"
    attempts: tuple[Attempt, ...] = Field(
        default=(), description="every model asked, in order; shadows last"
    )
    route_version: int | None = None
    latency_ms: float | None = Field(default=None, ge=0)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    content: BlobRef | None = Field(
        default=None, description="messages, answer and tools when they exceed 256 KiB"
    )
    metadata: dict[str, str] = {}
    session: str | None = Field(default=None, description="hash of who asked, if the app tells")
    tools: Tools = ()
    cut: bool = Field(
        default=False,
        exclude_if=is_unset,
        description="a live answer that ended early: its app left, or the engine broke off",
    )
    # Unsure only for want of a certificate, on a route that is strict about it.
    provisional: bool = Field(default=False, exclude_if=is_unset)


class FeedbackRecorded(Event):
    """A user or a system judged an answer. Said by capture; may arrive before the inference it is
    about.
    """

    feedback_id: str
    inference_id: str
    kind: Literal["rating", "comment", "correction", "outcome"]
    value: float | None = None
    text: str | None = None
    source: str = Field(description="id of the credential that sent it")


class ReviewRequested(Event):
    """A reviewer should look. Said by the router where no model was sure enough, beside the answer
    it still gave; and by dataset-builder of a verdict that no majority bears out.
    """

    inference_id: str
    confidence: Confidence | None = None
    review_id: str | None = Field(default=None, description="the verdict to be given once more")
    said: dict[str, int] = Field(default={}, description="what reviewers said, and how often")


class ReviewCompleted(Event):
    """A reviewer approved, corrected or rejected an answer. Said by review, once for each verdict;
    once more with probability 1 when a complaint comes after it, and `withdrawn` when it is taken
    back.
    """

    review_id: str
    inference_id: str
    verdict: Verdict
    messages: tuple[Message, ...]
    model_answer: str
    answer: str | None = Field(description="the right one; None when rejected: none can be given")
    content: BlobRef | None = Field(
        default=None,
        description="messages and model_answer when they exceed 256 KiB; both are empty then",
    )
    reviewer: str
    reason: str = Field(description="why it was sampled: audit, sampled, unsure, drift, feedback")
    audit: bool = Field(description="in the uniform share: evaluated on, never trained on")
    probability: float = Field(gt=0, le=1, description="of inclusion; said twice: the larger one")
    coin: float = Field(ge=0, lt=1)
    arm: Arm
    adapter_id: str | None = None
    confidence: Confidence | None = None
    asked_at: AwareDatetime | None = None
    session: str | None = Field(default=None, description="as in InferenceRecorded")
    seconds: float | None = Field(default=None, ge=0, description="the reviewer had the item open")
    withdrawn: bool = Field(default=False, description="this verdict, said before, counts no more")
    supersedes: str | None = Field(default=None, description="review_id withdrawn for this one")
    guideline: str | None = Field(default=None, description="of the route, when it was given")
    tools: tuple[JsonObject, ...] = Field(
        default=(), exclude_if=is_unset, description="as in InferenceRecorded"
    )
    second_of: SecondOf = None
    slices: Slices = {}


class DriftDetected(Event):
    """A monitor fired. Said by the evaluator; `input` asks for labels, `errors` is confirmed by
    them.
    """

    drift_id: str
    monitor: Literal["input", "errors"]
    adapter_id: str | None = None
    statistics: tuple[Statistic, ...]
    reference_size: int
    window_size: int
    window_started_at: AwareDatetime | None = None
    report: BlobRef | None = None
    confirms: str | None = Field(default=None, description="drift_id of an input alarm")
    accuracy: float | None = Field(default=None, description="of all answers, estimated")
    accuracy_low: float | None = Field(default=None, description="of its interval of 95 %")
    accuracy_high: float | None = None


class SplitSizes(Value):
    train: int
    validation: int
    test: int
    audit: int


class DatasetBuilt(Event):
    """An immutable dataset version exists. Said by dataset-builder after its manifest was
    written.
    """

    dataset_id: str = Field(description="`<tenant>--<route name>@<first 12 of sha256>`")
    blob: BlobRef = Field(
        description="folder with train/validation/test/audit .parquet and manifest.json"
    )
    rows: SplitSizes
    labels: dict[str, int] = Field(default={}, description="training rows per label")
    parent: str | None = None
    because: str
    recipe: str
    spec: HeardSpec


class TrainingProgressed(Event):
    """A training run advanced. Said by the trainer every few seconds, for people who watch."""

    job_id: str
    dataset_id: str
    state: Literal["queued", "running", "failed", "finished"]
    step: int = 0
    steps: int = 0
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_second: float | None = None
    attempt: int = 1
    detail: str = ""


class AdapterTrained(Event):
    """An immutable adapter exists. Said by the trainer after the adapter was stored under its
    digest.
    """

    adapter: AdapterRef
    dataset_id: str
    dataset: BlobRef
    base_model: str
    recipe: str
    recipe_sha256: str
    rank: int
    train_loss: float
    validation_loss: float | None = None
    seconds: float
    run_id: str | None = Field(default=None, description="MLflow run")
    job_id: str
    spec: HeardSpec


class AdapterEvaluated(Event):
    """The gate's verdict on an adapter, with its numbers. Said by the evaluator."""

    evaluation_id: str
    adapter: AdapterRef
    dataset_id: str
    verdict: Literal["promote", "reject"]
    reasons: tuple[str, ...]
    arms: tuple[ArmResult, ...]
    tests: tuple[PairedTest, ...]
    probe: Probe | None = None
    report: BlobRef | None = None
    seconds: float
    holds_for: str | None = Field(default=None, description="as in CalibrationFitted")
    groups: tuple[GroupTest, ...] = ()
    attempt: int | None = Field(default=None, description="counts the route's evaluations from 1")
    rows_for_five_points: int | None = Field(
        default=None, description="held-out rows that find a gain of five points in 8 of 10 tries"
    )


class CalibrationFitted(Event):
    """How the confidence of one arm maps to P(correct), and the threshold that holds. Said by the
    evaluator.

    P(correct) = sigmoid(slope * logit(clip(score, 1e-4, 1 - 1e-4)) + intercept) (docs/methods.md,
    section 2).
    """

    calibration_id: str
    adapter_id: str | None = Field(description="None: the base model with the detailed prompt")
    slope: float
    intercept: float
    threshold: float = Field(
        ge=0, le=1, description="answers with P(correct) below it are not trusted; 1 trusts none"
    )
    n: int
    errors: int
    brier: float
    alpha: float = Field(description="tolerated error among trusted answers")
    certified: bool = Field(description="the exact binomial bound holds at 90 %")
    coverage: float = Field(ge=0, le=1, description="share of the rows at or above the threshold")
    holds_for: str | None = Field(default=None, description="digest of arm, route and engine")
    behind: str | None = Field(
        default=None,
        description="of a base model that answers what an adapter was unsure of: calibration_id of"
        " that adapter; None: it is asked first",
    )
    labels_missing: int | None = Field(
        default=None, description="audited verdicts that a certificate still needs; 0: it has one"
    )
    missed: float | None = Field(
        default=None, description="share of wrong answers that reviewers let pass, as measured"
    )


class ChallengerState(Value):
    adapter: AdapterRef
    share: float = Field(ge=0, le=1)
    answered: int = 0


class RouteChanged(Event):
    """What serves a route now: its whole state, no difference. Said by the router (compacted)."""

    version: int = Field(ge=1)
    spec: HeardSpec
    champion: AdapterRef | None = None
    challenger: ChallengerState | None = None
    because: str
    actor: str
    evidence: dict[str, float] = Field(default={}, exclude_if=is_unset)


EVENTS: tuple[type[Event], ...] = (
    InferenceRecorded,
    FeedbackRecorded,
    ReviewRequested,
    ReviewCompleted,
    DriftDetected,
    DatasetBuilt,
    TrainingProgressed,
    AdapterTrained,
    AdapterEvaluated,
    CalibrationFitted,
    *COMPARISONS,
    RouteChanged,
    RetrainHeld,
)
