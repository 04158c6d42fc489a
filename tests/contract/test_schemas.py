"""The files under schemas/ say what the code says: examples valid, JSON Schemas current, nothing
orphaned, everything documented.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from infra.contracts import flow, json_schemas
from schemas.base import Event
from schemas.events import EVENTS
from schemas.topics import SERVICES, TOPICS, topic_of
from tests import factories

ROOT = Path(__file__).parents[2]
JSON = ROOT / "schemas" / "json"
EXAMPLES = ROOT / "schemas" / "examples"
MADE: dict[str, Event] = {
    event.schema_name(): event
    for event in (
        factories.inference(),
        factories.feedback(),
        factories.review_requested(),
        factories.review(),
        factories.drift(),
        factories.held(),
        factories.dataset(),
        factories.progressed(),
        factories.trained(),
        factories.evaluated(),
        factories.calibration(),
        factories.comparison_requested(),
        factories.answers_compared(),
        factories.route_changed(),
    )
}

every_event = pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)


def folder_of(event: type[Event]) -> Path:
    return EXAMPLES / event.topic_name().removesuffix(f"-v{event.VERSION}") / f"v{event.VERSION}"


def examples(event: type[Event]) -> dict[str, Any]:
    return {
        path.stem: json.loads(path.read_text("utf-8"))
        for path in sorted(folder_of(event).glob("*.json"))
    }


def checker(event: type[Event]) -> jsonschema.Draft202012Validator:
    schema = json.loads((JSON / f"{event.schema_name()}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


@every_event
def test_golden_examples_are_read_and_written_back_unchanged(event: type[Event]) -> None:
    found = examples(event)
    assert len(found) >= 2
    for name, body in found.items():
        assert event.model_validate(body).model_dump(mode="json", exclude_unset=True) == body, name


@every_event
def test_golden_examples_satisfy_the_json_schema(event: type[Event]) -> None:
    for body in examples(event).values():
        checker(event).validate(body)


@every_event
def test_what_a_service_publishes_satisfies_the_json_schema(event: type[Event]) -> None:
    checker(event).validate(json.loads(MADE[event.schema_name()].model_dump_json()))


@every_event
def test_the_json_schema_refuses_what_the_model_refuses(event: type[Event]) -> None:
    body = next(iter(examples(event).values()))
    for broken in (
        body | {"tenant": ""},
        body | {"route": "no tenant"},
        {name: value for name, value in body.items() if name != "route"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            checker(event).validate(broken)


def test_json_schemas_are_current() -> None:
    found = {path.name: path.read_text("utf-8") for path in JSON.glob("*.json")}
    assert found == json_schemas.expected(), (
        "run 'python -m infra.contracts schemas' and commit what it writes"
    )


def test_the_picture_of_the_flow_is_current() -> None:
    assert (ROOT / "docs" / "flow.md").read_text("utf-8") == flow.flow(), (
        "run 'python -m infra.contracts flow' and commit what it writes"
    )


def test_no_example_is_an_orphan() -> None:
    folders = {path.parent.relative_to(EXAMPLES) for path in EXAMPLES.rglob("*.json")}
    assert folders == {folder_of(event).relative_to(EXAMPLES) for event in EVENTS}


def test_no_earlier_schema_is_an_orphan() -> None:
    names = {event.schema_name() for event in EVENTS}
    assert {
        path.name.rsplit(".", 2)[0] for path in (JSON / json_schemas.EARLIER).glob("*.json")
    } <= names


@every_event
def test_every_event_says_what_it_is(event: type[Event]) -> None:
    assert "Said by" in flow.fact(event)
    assert event.topic_name() == topic_of(event).name


def test_every_topic_has_its_event_and_known_services() -> None:
    assert [topic.event for topic in TOPICS] == list(EVENTS)
    assert {service for topic in TOPICS for service in (*topic.producers, *topic.consumers)} <= set(
        SERVICES
    )
    assert all(topic.key in topic.event.model_fields for topic in TOPICS)


@every_event
def test_an_old_consumer_reads_what_a_newer_producer_writes(event: type[Event]) -> None:
    """N-1 reads N: fields it never heard of, at every depth, are ignored."""
    for body in examples(event).values():
        assert event.model_validate_json(
            json.dumps(with_news(event, body))
        ) == event.model_validate(body)


@every_event
def test_a_new_consumer_reads_what_an_old_producer_wrote(event: type[Event]) -> None:
    """N reads N-1: fields with a default may be missing."""
    for body in examples(event).values():
        required = {name for name, field in event.model_fields.items() if field.is_required()}
        identity = {"event_id", "occurred_at"}
        old = event.model_validate(
            {name: value for name, value in body.items() if name in required | identity}
        )
        assert all(
            getattr(old, name) == getattr(event.model_validate(body), name)
            for name in required | identity
        )


def with_news(model: type[BaseModel], body: Any) -> Any:
    """`body` with an unknown field in it and in every model below it."""
    if isinstance(body, list):
        return [with_news(model, item) for item in body]
    if not isinstance(body, dict):
        return body
    return {
        name: with_news(inner, body[name]) if (inner := model_in(model, name)) else body[name]
        for name in body
    } | {"from_the_future": {"x": 1}}


def model_in(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model that a field holds, alone, optional or in a tuple."""
    found = [model.model_fields[name].annotation]
    while found:
        kind = found.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
        found += [part for part in getattr(kind, "__args__", ()) if part is not str]
    return None
