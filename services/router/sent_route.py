"""A route as an admin sends it: a `RouteSpec` of which every part has a bound.

The bounds stand here and not in the contract: what was stored before there were any must still be
read, and a specification travels in four kinds of events, each of at most 1,000,000 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.answers import check_labels, is_free_text, schema_flaw
from schemas.base import JsonObject
from schemas.route import BalanceRule, CanaryChoice, DriftRule, RetrainRule, ReviewRule, RouteSpec
from shared.http import METADATA_NAME, RequestBody, encoded_size

MOST_LABELS = 1000
# All values of all of them share one level: each more is one that finds less.
MOST_SLICES = 5
PROMPT_CHARACTERS = 65_536
SPEC_BYTES = 256 * 1024
# Of a chat template: what the request itself says, and how it is rendered.
TAKEN_ARGUMENTS = {
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "documents",
    "messages",
    "padding",
    "return_dict",
    "return_tensors",
    "strftime_now",
    "tokenize",
    "tools",
    "truncation",
}
# Rows and answers are counted in 32 bits by PostgreSQL.
Count = Annotated[int, Field(le=1_000_000)]
# One line: labels are shown in menus, logged, and put into prompts.
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reviewer = Annotated[str, Field(min_length=1, max_length=200)]
MetadataKey = Annotated[str, Field(pattern=METADATA_NAME)]
Description = Annotated[str, Field(max_length=2000)]
TemplateArgument = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
TemplateValue = bool | int | float | Annotated[str, Field(max_length=1000)]
Prompt = Annotated[str, Field(min_length=1, max_length=PROMPT_CHARACTERS)]
RouteName = Annotated[
    str, Field(pattern=r"^[a-z0-9-]{1,64}/[a-z0-9-]{1,64}$", description="tenant/name")
]


class SentReview(ReviewRule):
    drift_batch: Count = Field(default=200, ge=0)
    daily_budget: Count = Field(default=200, ge=0)


class SentBalance(BalanceRule):
    cap: Count | None = Field(default=None, ge=1)


class SentRetrain(RetrainRule):
    balance: SentBalance = SentBalance()
    min_new_verdicts: Count = Field(default=200, ge=1)
    min_new_after_drift: Count = Field(default=100, ge=1)
    recipe: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")] = "auto"
    cooldown_hours: Annotated[float, Field(ge=0, le=8760)] = 0
    most_a_week: Annotated[int, Field(ge=1, le=1000)] | None = None


class SentDrift(DriftRule):
    reference: Count = Field(default=500, ge=30)
    window: Count = Field(default=200, ge=20)


class SentRoute(RequestBody, RouteSpec):
    name: RouteName
    labels: tuple[Label, ...] = Field(default=(), max_length=MOST_LABELS)
    label_descriptions: dict[Label, Description] = Field(default={}, max_length=MOST_LABELS)
    output_schema: JsonObject | None = Field(default=None, max_length=MOST_LABELS)
    guideline: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    slices: tuple[MetadataKey, ...] = Field(default=(), max_length=MOST_SLICES)
    approved_reviewers: tuple[Reviewer, ...] = Field(default=(), max_length=MOST_LABELS)
    system_prompt: Prompt
    detailed_prompt: Prompt
    template_arguments: dict[TemplateArgument, TemplateValue] = Field(default={}, max_length=20)
    review: SentReview = SentReview()
    retrain: SentRetrain = SentRetrain()
    drift: SentDrift = SentDrift()
    minimum_per_label: Count | None = Field(default=None, ge=1)
    minimum_rows: Count | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def fits(self) -> Self:
        """Refuse what is too large as a whole, also once the prompt has its labels filled in."""
        if (size := encoded_size(self)) > SPEC_BYTES:
            raise ValueError(f"{size} bytes as JSON; a route may have {SPEC_BYTES}")
        fills = {"{labels}": 2, "{label_descriptions}": 5}
        described = sum(map(len, (*self.labels, *self.label_descriptions.values())))
        filled = len(self.detailed_prompt) + sum(
            self.detailed_prompt.count(fill) * (described + len(self.labels) * more)
            for fill, more in fills.items()
        )
        if filled > SPEC_BYTES:
            raise ValueError(
                f"detailed_prompt grows to {filled} characters when its labels are filled in; at"
                f" most {SPEC_BYTES} are taken"
            )
        return self

    @model_validator(mode="after")
    def template_arguments_are_free(self) -> Self:
        if taken := TAKEN_ARGUMENTS & self.template_arguments.keys():
            raise ValueError(
                f"template_arguments: {', '.join(sorted(taken))} cannot be set by a route"
            )
        return self

    @model_validator(mode="after")
    def answers_can_be_told_apart(self) -> Self:
        check_labels(self.labels)
        if len(set(self.slices)) != len(self.slices):
            raise ValueError("slices repeat")
        if self.output_schema is not None and (flaw := schema_flaw(self.output_schema)):
            raise ValueError(f"output_schema {flaw}")
        if self.canary.shadow and is_free_text(self):
            raise ValueError(
                "canary.shadow compares answers that are right or wrong, and two good ones of"
                f" {self.task} differ: leave it out"
            )
        return self

    def spec(
        self, old: RouteSpec | None, template_arguments: Mapping[str, object] | None = None
    ) -> RouteSpec:
        """Return the route as events carry it; `old` is what it was before, None for a new one,
        which tells the chat template `template_arguments` where it does not say.

        A new route serves what apps say in system messages, trusts what is certified alone, and
        waits for what its canaries say. Routes from before there was a choice go on as they were
        until their owner chooses.
        """
        sent = self.model_dump()
        if "guarantee" not in self.model_fields_set:
            sent["guarantee"] = old.guarantee if old else "strict"
        before = old.canary if old else CanaryChoice(quiet="wait")
        chosen = self.canary.model_dump(exclude_unset=True)
        sent["canary"] = before.model_dump() | chosen
        if "template_arguments" not in self.model_fields_set:
            sent["template_arguments"] = old.template_arguments if old else template_arguments or {}
        if "system" not in self.model_fields_set:
            sent["system"] = old.system if old else "append"
        return RouteSpec.model_validate(sent)
