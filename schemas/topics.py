"""The map of the system: which event travels on which topic, from whom, to whom. docs/flow.md is
drawn from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas import events
from schemas.base import Event
from schemas.comparisons import AnswersCompared, ComparisonRequested
from schemas.monitoring import RetrainHeld

# Of an event with its key and headers. Kafka's own limit (max.message.bytes) is 1,048,588 for a
# batch, of which its framing takes less than 200.
LARGEST_EVENT_BYTES = 1_000_000

SERVICES = ("capture", "review", "dataset-builder", "trainer", "evaluator", "router")


@dataclass(frozen=True)
class Topic:
    """`key` names the event's field that partitions the topic: order holds within one key."""

    event: type[Event]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    key: str
    compacted: bool = False
    partitions: int = 12  # from day one: re-partitioning later breaks the order within a key

    @property
    def name(self) -> str:
        return self.event.topic_name()


INFERENCE_RECORDED = Topic(
    events.InferenceRecorded, ("router", "capture"), ("review", "evaluator"), "route"
)
FEEDBACK_RECORDED = Topic(
    events.FeedbackRecorded,
    ("capture",),
    ("review", "dataset-builder", "evaluator"),
    "inference_id",
)
REVIEW_REQUESTED = Topic(
    events.ReviewRequested, ("router", "dataset-builder"), ("review",), "inference_id"
)
REVIEW_COMPLETED = Topic(
    events.ReviewCompleted, ("review",), ("dataset-builder", "evaluator", "router"), "inference_id"
)
DRIFT_DETECTED = Topic(
    events.DriftDetected, ("evaluator",), ("review", "dataset-builder"), "route", partitions=3
)
DATASET_BUILT = Topic(
    events.DatasetBuilt, ("dataset-builder",), ("trainer",), "route", partitions=3
)
TRAINING_PROGRESSED = Topic(events.TrainingProgressed, ("trainer",), (), "route", partitions=3)
ADAPTER_TRAINED = Topic(events.AdapterTrained, ("trainer",), ("evaluator",), "route", partitions=3)
ADAPTER_EVALUATED = Topic(
    events.AdapterEvaluated, ("evaluator",), ("router", "review"), "route", partitions=3
)
CALIBRATION_FITTED = Topic(
    events.CalibrationFitted, ("evaluator",), ("router",), "route", partitions=3
)
COMPARISON_REQUESTED = Topic(
    ComparisonRequested, ("evaluator",), ("review",), "comparison_id", partitions=3
)
ANSWERS_COMPARED = Topic(
    AnswersCompared, ("review", "evaluator"), ("evaluator",), "comparison_id", partitions=3
)
ROUTE_CHANGED = Topic(
    events.RouteChanged, ("router",), SERVICES[:-1], "route", compacted=True, partitions=3
)
RETRAIN_HELD = Topic(RetrainHeld, ("dataset-builder",), (), "route", partitions=3)

TOPICS: tuple[Topic, ...] = (
    INFERENCE_RECORDED,
    FEEDBACK_RECORDED,
    REVIEW_REQUESTED,
    REVIEW_COMPLETED,
    DRIFT_DETECTED,
    DATASET_BUILT,
    TRAINING_PROGRESSED,
    ADAPTER_TRAINED,
    ADAPTER_EVALUATED,
    CALIBRATION_FITTED,
    COMPARISON_REQUESTED,
    ANSWERS_COMPARED,
    ROUTE_CHANGED,
    RETRAIN_HELD,
)


COMPACTED = frozenset(topic.name for topic in TOPICS if topic.compacted)


def dead_letter_topic(service: str) -> str:
    """Name the topic that has copies of what a service could not digest, bytes unchanged."""
    return f"{service}-dlq"


def topic_of(event: type[Event]) -> Topic:
    return next(topic for topic in TOPICS if topic.event is event)


def consumed_by(service: str) -> tuple[Topic, ...]:
    return tuple(topic for topic in TOPICS if service in topic.consumers)


def published_by(service: str) -> tuple[Topic, ...]:
    return tuple(topic for topic in TOPICS if service in topic.producers)


_OURS = frozenset(
    {*(topic.name for topic in TOPICS), *(dead_letter_topic(service) for service in SERVICES)}
)


def is_ours(topic: str) -> bool:
    """Say whether a topic carries our events, or their dead letters; else it is an app's own."""
    return topic in _OURS
