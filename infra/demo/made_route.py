"""The route of a file of which only labels or answers are known."""

from __future__ import annotations

import json

from pydantic import ValidationError

from infra.data.losses import DataUnusable
from infra.data.reading import DataFile
from infra.data.sizes import SERVED, about, at_most
from infra.demo.data import as_told
from infra.demo.plan import Plan
from schemas.base import JsonObject
from schemas.route import RouteSpec

NAME = "acme/your-data"
# For the model that the demo brings along.
RECIPE = "tiny-cpu"
# What must be left of the engine's tokens for a message, beside prompt and answer.
LEAST_FOR_MESSAGE = 100
# The chat template's own tokens.
TEMPLATE = 20
LIST_PROMPT = (
    "You sort customer messages. Choose the one label that fits what the customer wants. Answer"
    " with exactly one of these labels and nothing else: {labels}"
)
DESCRIBED_PROMPT = (
    "You sort customer messages. Choose the one label that fits what the customer wants.\n\n"
    "Labels:\n{label_descriptions}\n\nAnswer with exactly one of these labels and nothing else:"
    " {labels}"
)


def classification_route(everyday: list[str], late: list[str], plan: Plan) -> RouteSpec:
    """Make a route for labels; it has room for the late ones as well."""
    labels = [*everyday, *late]
    return made(
        {
            "task": "classification",
            "labels": everyday,
            "label_descriptions": {label: spoken(label) for label in everyday},
            "system_prompt": "Classify the customer message. Answer with one label.",
            "detailed_prompt": prompt_that_fits(labels),
            "max_tokens": max(8, *map(at_most, labels)),
            "minimum_per_label": plan.minimum_per_label,
        },
        plan,
    )


def extraction_route(data: DataFile, plan: Plan) -> RouteSpec:
    """Make a route for answers as JSON, with the schema that all of them keep."""
    answers = [sample.answer for sample in data.samples]
    longest = max(map(at_most, answers))
    example = min(answers, key=len)
    schema = data.output_schema or {}
    prompt = (
        "Read the message and answer with one JSON object and nothing else. Its fields are:"
        f" {', '.join(fields(schema))}. Leave out no field that is asked for, invent nothing."
        f" An answer looks like this: {example}"
    )
    room = SERVED - about(prompt) - longest
    if room < LEAST_FOR_MESSAGE:
        raise DataUnusable(
            f"{data.path}: the longest answer takes up to {longest} tokens and its fields about"
            f" {about(prompt)} in the prompt, of {SERVED} that the base model reads: ask for fewer"
            " fields, or leave the longest answers out"
        )
    return made(
        {
            "task": "extraction",
            "output_schema": schema,
            "system_prompt": "Answer with the JSON object that the message asks for.",
            "detailed_prompt": prompt,
            "max_tokens": longest,
            "minimum_rows": max(1, int(plan.baseline * (1 - plan.audit_rate) / 2)),
        },
        plan,
    )


def room_for_message(spec: RouteSpec) -> int:
    """Return how many tokens a message may have beside the base model's prompt and an answer."""
    (prompt,) = spec.detailed_messages(())
    return SERVED - about(prompt.content) - spec.max_tokens - TEMPLATE


def made(particular: JsonObject, plan: Plan) -> RouteSpec:
    """Return the route with the rules that the plan allows."""
    try:
        spec = RouteSpec.model_validate(
            {
                "name": NAME,
                "review": {"rate": 0.2, "audit_rate": plan.audit_rate, "unsure_rate": 1.0},
                "retrain": {
                    "recipe": RECIPE,
                    "min_new_verdicts": plan.verdicts,
                    "min_new_after_drift": plan.verdicts_after_drift,
                },
                **particular,
            }
        )
    except ValidationError as error:
        problems = "; ".join(each["msg"] for each in error.errors(include_input=False))
        raise DataUnusable(f"no route can be made of these labels: {problems}") from error
    return as_told(spec, plan)


def prompt_that_fits(labels: list[str]) -> str:
    """Return the base model's prompt: with a description of each label where there is room."""
    listed = about(", ".join(labels)) + about(LIST_PROMPT)
    described = listed + sum(about(f"- {label}: {spoken(label)}\n") for label in labels)
    longest = max(map(at_most, labels))
    if described + longest + LEAST_FOR_MESSAGE <= SERVED:
        return DESCRIBED_PROMPT
    if listed + longest + LEAST_FOR_MESSAGE <= SERVED:
        return LIST_PROMPT
    raise DataUnusable(
        f"the names of {len(labels)} labels take about {listed} of the {SERVED} tokens that the"
        " base model reads: use fewer with --labels, or shorter names"
    )


def fields(schema: JsonObject) -> list[str]:
    """Name the fields of an answer with their types."""
    required = schema.get("required", [])
    return [
        f"{json.dumps(name, ensure_ascii=False)} ({kind(of)}"
        + ("" if name in required else ", only if it is said")
        + ")"
        for name, of in schema.get("properties", {}).items()
    ]


def kind(schema: JsonObject) -> str:
    types = schema["type"]
    return types if isinstance(types, str) else " or ".join(types)


def spoken(label: str) -> str:
    return label.replace("_", " ").replace("-", " ").lower()
