"""What a route is: the YAML a user writes, and the prompts that follow from it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.base import JsonObject, Message, Value, is_unset
from schemas.personal import PersonalRule, redacts_all

SystemRule = Literal["replace", "append", "app"]
Durability = Literal["strict", "relaxed"]
StreamRule = Literal["buffered", "live"]
Guarantee = Literal["strict", "best-effort"]
Quiet = Literal["wait", "promote"]
Task = Literal["classification", "extraction", "format", "summarisation", "conversation"]

# The smallest training set worth a run: rows per label for classification, rows in all otherwise
# (docs/methods.md, section 7).
MINIMUM_ROWS: dict[str, int] = {
    "classification": 50,
    "extraction": 200,
    "format": 500,
    "summarisation": 1000,
    "conversation": 2000,
}


class ReviewRule(Value):
    """Which share of the answers a human sees. `audit_rate` is a uniform share that is never
    trained on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    rate: float = Field(default=0.1, ge=0, le=1)
    audit_rate: float = Field(default=0.04, ge=0, le=1)
    unsure_rate: float = Field(
        default=1.0, ge=0, le=1, description="share of the answers the router gave up on"
    )
    drift_batch: int = Field(
        default=200, ge=0, description="how many answers are all reviewed after drift was detected"
    )
    overlap_rate: float = Field(
        default=0.05, ge=0, le=1, description="share of audited answers that two people decide"
    )
    daily_budget: int = Field(
        default=200,
        ge=0,
        description="most answers a day that are reviewed, beyond the audited ones, while nothing"
        " is certified",
    )


class BalanceRule(Value):
    """Limits what large labels take of a training set; off by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cap: int | None = Field(default=None, ge=1, description="most training rows of a label")
    temperature: float = Field(
        default=1.0,
        ge=1,
        le=100,
        description="shares become proportional to share^(1/temperature): 1 leaves them, 100 evens"
        " them out",
    )


class RetrainRule(Value):
    """When a new dataset is built: enough new verdicts, or fewer of them once drift was
    detected.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    min_new_verdicts: int = Field(default=200, ge=1)
    min_new_after_drift: int = Field(default=100, ge=1)
    recipe: str = Field(
        default="auto",
        description="how to train: auto takes the recipe that fits the base model and the hardware",
    )
    balance: BalanceRule = BalanceRule()
    cooldown_hours: float = Field(
        default=0, ge=0, description="after a dataset, before the rule builds the next"
    )
    most_a_week: int | None = Field(
        default=None, ge=1, description="datasets in seven days beyond which the rule builds none"
    )


class CanaryChoice(Value):
    """What becomes of a challenger that too few requests were given to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    quiet: Quiet = Field(
        default="promote",
        description="whether it waits for more of them, or is promoted on the gate's evidence",
    )
    shadow: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the requests that an adapter on trial and what it replaces both"
        " answer, one of them for nobody: they are compared on the same questions",
    )


class DriftRule(Value):
    """How the streams are watched: the size of the windows and the error rate that is tolerated."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    reference: int = Field(
        default=500, ge=30, description="answers of the serving model that define normal"
    )
    window: int = Field(default=200, ge=20)
    tolerated_error: float = Field(default=0.2, gt=0, lt=1)


class Targets(Value):
    model_config = ConfigDict(extra="forbid", frozen=True)
    accuracy: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="a strict route promotes no adapter whose accuracy is not proven to reach it",
    )
    max_risk: float = Field(
        default=0.1, gt=0, lt=1, description="tolerated error among answers served with confidence"
    )


class RouteSpec(Value):
    """A route as its owner writes it. Unknown keys are refused, so that a typo is not silently
    ignored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$", description="tenant/name")
    task: Task = "classification"
    labels: tuple[str, ...] = ()
    label_descriptions: dict[str, str] = {}
    output_schema: JsonObject | None = None
    guideline: str | None = Field(
        default=None,
        description="version of the rules that reviewers decide by: every verdict keeps it",
    )
    system_prompt: str = Field(min_length=1, description="short prompt of the tuned model")
    detailed_prompt: str = Field(
        min_length=1,
        description="best prompt of the base model; may use {labels}, {label_descriptions}",
    )
    system: SystemRule = Field(
        default="replace",
        description="what becomes of the app's own system message: the route's prompt takes its"
        " place (replace), or stands before it (append), or gives way to it (app)",
    )
    stream: StreamRule = Field(
        default="buffered",
        description="whether a stream begins when its answer has been judged as a whole (buffered),"
        " or with its first token, before anything is known of it (live)",
    )
    durability: Durability = Field(
        default="strict",
        description="whether an answer is on disk before it is given (strict), or within 50 ms of"
        " it (relaxed: faster, and lost where the router dies within them)",
    )
    guarantee: Guarantee = Field(
        default="best-effort",
        description="what is trusted where no threshold is certified: nothing (strict), or what is"
        " as probable to be right as max_risk asks, without proof (best-effort)",
    )
    max_tokens: int = Field(default=16, ge=1, le=4096)
    template_arguments: dict[str, bool | int | float | str] = Field(
        default={},
        exclude_if=is_unset,
        description="what the base model's chat template is told beside the messages, in training,"
        " evaluation and serving alike: enable_thinking false, say, or a date_string",
    )
    review: ReviewRule = ReviewRule()
    retrain: RetrainRule = RetrainRule()
    drift: DriftRule = DriftRule()
    canary: CanaryChoice = CanaryChoice()
    targets: Targets = Targets()
    personal: PersonalRule = Field(default=PersonalRule(), exclude_if=redacts_all)
    slices: tuple[str, ...] = Field(
        default=(),
        description="keys of metadata: an adapter that is proven worse where one of them has some"
        " value is not promoted",
    )
    approved_reviewers: tuple[str, ...] = Field(
        default=(), description="whose verdicts are trained on; everybody's where it is empty"
    )
    minimum_per_label: int | None = Field(
        default=None, ge=1, description="overrides the least rows a label needs"
    )
    minimum_rows: int | None = Field(
        default=None, ge=1, description="overrides the least rows a training set needs"
    )

    @model_validator(mode="after")
    def labels_fit_task(self) -> Self:
        if self.task == "classification" and len(self.labels) < 2:
            raise ValueError("a classification route needs at least two labels")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if unknown := set(self.label_descriptions) - set(self.labels):
            raise ValueError(f"label_descriptions name unknown labels: {sorted(unknown)}")
        return self

    def tuned_messages(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return what an adapter is asked, in training and in serving alike.

        Any difference between the two costs accuracy.
        """
        return self._with_system(self.system_prompt, messages)

    def detailed_messages(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return what the base model is asked."""
        described = "\n".join(
            f"- {label}: {self.label_descriptions.get(label, label)}" for label in self.labels
        )
        prompt = self.detailed_prompt.replace("{labels}", ", ".join(self.labels)).replace(
            "{label_descriptions}", described
        )
        return self._with_system(prompt, messages)

    def _with_system(self, prompt: str, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return the conversation under one system message, which many chat templates want."""
        sent = [m.content for m in messages if m.role == "system" and m.content.strip()]
        match self.system:
            case "append":
                prompt = "\n\n".join((prompt, *sent))
            case "app" if sent:
                prompt = "\n\n".join(sent)
        others = (m for m in messages if m.role != "system")
        return (Message(role="system", content=prompt), *others)


def _known(model: type[BaseModel], value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    types = {name: field.annotation for name, field in model.model_fields.items() if name in value}
    return {
        name: (
            _known(kind, value[name])
            if isinstance(kind, type) and issubclass(kind, BaseModel)
            else value[name]
        )
        for name, kind in types.items()
    }


HeardSpec = Annotated[RouteSpec, BeforeValidator(lambda value: _known(RouteSpec, value))]
"""A specification in an event: what a newer producer added is ignored, while a user's typo in a
route's YAML is refused.
"""
