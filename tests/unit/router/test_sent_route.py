"""What an admin sends has bounds; what was stored before there were any is still read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.events import RouteChanged
from schemas.route import RouteSpec
from services.router.sent_route import SPEC_BYTES, SentRoute
from tests import factories

GOOD: dict[str, Any] = factories.spec().model_dump(mode="json")
BARE = {name: value for name, value in GOOD.items() if name != "template_arguments"}


@pytest.mark.parametrize(
    "spec",
    [
        factories.spec(),
        factories.spec(task="summarisation", labels=(), detailed_prompt="é" * 65_536),
        factories.spec(
            labels=tuple(f"label {n}" for n in range(1000)),
            review={"rate": 0.5, "drift_batch": 1_000_000},
            retrain={"recipe": "qlora-7b"},
            slices=("country", "app version"),
            output_schema={"type": "object", "properties": {"a": {"enum": [1, 2.5, None]}}},
        ),
    ],
    ids=["small", "long prompts", "many labels"],
)
def test_what_fits_becomes_the_route_it_was(spec: RouteSpec) -> None:
    sent = SentRoute.model_validate(spec.model_dump(mode="json"))
    assert sent.spec(None) == spec
    assert type(sent.spec(None)) is RouteSpec


@pytest.mark.parametrize(
    "labels",
    [(".net", "net"), ("yes!", "yes"), ("!", "?"), ("C", "C++", "C#"), ("退款", "退款！")],
    ids=str,
)
def test_labels_that_differ_in_little_are_taken(labels: tuple[str, ...]) -> None:
    assert SentRoute.model_validate(GOOD | {"labels": labels}).labels == labels


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"system_prompt": "x" * 1_500_000}, "system_prompt"),
        ({"detailed_prompt": "x" * 65_537}, "detailed_prompt"),
        ({"system_prompt": "\x01" * 50_000}, f"a route may have {SPEC_BYTES}"),
        ({"detailed_prompt": "{label_descriptions}" * 3000, "labels": ["x" * 200, "y"]}, "grows"),
        ({"labels": [f"{n}" for n in range(1001)]}, "labels"),
        ({"labels": ["a", "two\nlines"]}, "labels"),
        ({"labels": ["a", ""]}, "labels"),
        ({"label_descriptions": {"refund": "x" * 2001}}, "label_descriptions"),
        ({"name": f"acme/{'x' * 65}"}, "name"),
        ({"review": {"drift_batch": 2**31}}, "drift_batch"),
        ({"retrain": {"min_new_verdicts": 2**63}}, "min_new_verdicts"),
        ({"retrain": {"recipe": "../../etc/passwd"}}, "recipe"),
        ({"drift": {"window": 10**30}}, "window"),
        ({"minimum_rows": 2**31}, "minimum_rows"),
        ({"slices": [f"k{n}" for n in range(6)]}, "slices"),
        ({"slices": ["a", "a"]}, "slices repeat"),
        ({"slices": ["x" * 65]}, "slices"),
        ({"labels": ["Refund", "refund"]}, "are one label once case"),
        ({"labels": ["C", "c"]}, "rename or remove one"),
        ({"labels": ["ok", "\u200b"]}, "label number 2 shows nothing"),
        ({"labels": ["re\u200bfund", "refund"]}, "invisible"),
        ({"output_schema": {"type": "thing"}}, "is no JSON Schema"),
        ({"output_schema": {"$ref": "https://example.com/a.json"}}, "nothing is fetched"),
        ({"output_schema": {"pattern": "(a)\\1"}}, "linear time"),
        ({"output_schema": {"a": float("nan")}}, "NaN"),
        ({"output_schema": {"\ud800": 1}}, "surrogate"),
        ({"output_schema": {"a": ["\0"]}}, "NUL"),
        ({"output_schema": nested(40)}, "nested"),
        ({"output_schema": {"a": [0] * 30_000}}, "values"),
        ({"system_prompt": "a\ud800"}, "surrogate"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_what_does_not_is_refused_in_words(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SentRoute.model_validate(GOOD | change)
    said = json.dumps(refused.value.errors(include_input=False, include_context=False))
    assert says in said


def test_a_route_that_was_stored_without_bounds_is_still_read() -> None:
    event = factories.route_changed(
        spec=factories.spec(
            system_prompt="x" * 900_000,
            labels=("two\nlines", "x" * 5000),
            review={"drift_batch": 2**40},
        )
    )
    assert RouteChanged.model_validate_json(event.model_dump_json()) == event


def test_a_new_route_tells_the_template_what_the_base_model_needs_and_an_old_one_what_it_told() -> (
    None
):
    needed = {"enable_thinking": False}
    plain = SentRoute.model_validate(BARE)
    assert plain.spec(None, needed).template_arguments == needed
    assert plain.spec(plain.spec(None), needed).template_arguments == {}
    chosen = SentRoute.model_validate(GOOD | {"template_arguments": {}})
    assert chosen.spec(None, needed).template_arguments == {}


@pytest.mark.parametrize(
    "told",
    [
        {"messages": "x"},
        {"tokenize": True},
        {"strftime_now": "x"},
        {"a b": 1},
        {"date_string": "x" * 1001},
        {f"a{n}": 1 for n in range(21)},
        {"thinking": None},
        {"thinking": {"budget": 1}},
    ],
)
def test_what_a_template_cannot_be_told_is_refused(told: dict) -> None:
    with pytest.raises(ValidationError, match="template_arguments"):
        SentRoute.model_validate(GOOD | {"template_arguments": told})
