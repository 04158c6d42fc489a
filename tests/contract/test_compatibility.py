"""Every version of a schema that was ever committed can be read by the models of today; and a
breaking change would be noticed.
"""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.contracts import json_schemas
from infra.contracts.compatibility import breaks
from schemas.base import Event
from schemas.events import EVENTS, AdapterEvaluated, InferenceRecorded, RouteChanged

JSON = Path(__file__).parents[2] / "schemas" / "json"
Schema = dict[str, Any]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_events_of_every_earlier_schema_are_still_read(event: type[Event]) -> None:
    versions = json_schemas.earlier_versions(JSON, event)
    assert versions, (
        f"no schema of {event.__name__} is committed: run 'python -m infra.contracts schemas'"
    )
    found = {
        name: problems
        for name, schema in versions.items()
        if (problems := breaks(schema, json_schemas.schema_of(event)))
    }
    assert not found


def changed(event: type[Event], change: Callable[[Schema], Any]) -> tuple[Schema, Schema]:
    before = json_schemas.schema_of(event)
    after = copy.deepcopy(before)
    change(after)
    return before, after


def remove_field(schema: Schema) -> None:
    del schema["properties"]["latency_ms"]


def add_required(schema: Schema) -> None:
    schema["properties"]["region"] = {"type": "string"}
    schema["required"].append("region")


def require_optional(schema: Schema) -> None:
    schema["required"].append("metadata")


def narrow_type(schema: Schema) -> None:
    schema["properties"]["answer"] = {"type": "integer"}


def narrow_number(schema: Schema) -> None:
    schema["properties"]["latency_ms"]["anyOf"][0]["type"] = "integer"


def forbid_null(schema: Schema) -> None:
    schema["properties"]["latency_ms"] = {"type": "number", "minimum": 0}


def remove_value(schema: Schema) -> None:
    schema["properties"]["outcome"]["enum"].remove("fell_back")


def restrict_text(schema: Schema) -> None:
    schema["properties"]["answer"]["enum"] = ["yes", "no"]


def tighten_limit(schema: Schema) -> None:
    schema["properties"]["tenant"]["maxLength"] = 8


def change_pattern(schema: Schema) -> None:
    schema["properties"]["route"]["pattern"] = "^[a-z]+$"


def break_deep_down(schema: Schema) -> None:
    schema["$defs"]["Attempt"]["required"].append("adapter_id")


def narrow_map(schema: Schema) -> None:
    schema["properties"]["metadata"]["additionalProperties"] = {"type": "integer"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (remove_field, "event.latency_ms was removed"),
        (add_required, "event.region is required and was not there"),
        (require_optional, "event.metadata is required and was optional"),
        (narrow_type, "event.answer was narrowed from string to integer"),
        (narrow_number, "event.latency_ms no longer accepts number"),
        (forbid_null, "event.latency_ms no longer accepts null"),
        (remove_value, "event.outcome no longer accepts ['fell_back']"),
        (restrict_text, "event.answer was narrowed to the values ['yes', 'no']"),
        (tighten_limit, "event.tenant has a lower maxLength (64 -> 8)"),
        (change_pattern, "event.route has another pattern"),
        (break_deep_down, "event.attempts[].adapter_id is required and was optional"),
        (narrow_map, "event.metadata[] was narrowed from string to integer"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_breaking_change_is_reported(change: Callable[[Schema], Any], says: str) -> None:
    problems = breaks(*changed(InferenceRecorded, change))
    assert any(problem.startswith(says) for problem in problems), problems
    assert "make a new version of the event" in problems[0]


def add_optional(schema: Schema) -> None:
    schema["properties"]["region"] = {"type": "string", "default": "eu"}


def widen_type(schema: Schema) -> None:
    schema["properties"]["version"]["type"] = "number"


def allow_null(schema: Schema) -> None:
    schema["properties"]["actor"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}


def add_value(schema: Schema) -> None:
    schema["$defs"]["RouteSpec"]["properties"]["task"]["enum"].append("translation")


def loosen_limit(schema: Schema) -> None:
    schema["properties"]["version"]["minimum"] = 0


def give_default(schema: Schema) -> None:
    schema["required"].remove("actor")


@pytest.mark.parametrize(
    "change",
    [add_optional, widen_type, allow_null, add_value, loosen_limit, give_default],
    ids=lambda change: change.__name__,
)
def test_an_additive_change_is_allowed(change: Callable[[Schema], Any]) -> None:
    assert breaks(*changed(RouteChanged, change)) == []


def test_compatibility_is_transitive() -> None:
    """Each step may look harmless beside the last one; the comparison is with all of them."""
    first = json_schemas.schema_of(AdapterEvaluated)
    second = copy.deepcopy(first)
    third = copy.deepcopy(first)
    second["required"].remove("seconds")
    del second["properties"]["seconds"]
    third["properties"]["seconds"] = {"type": "string"}
    third["required"].remove("seconds")
    assert breaks(second, third) == []
    assert breaks(first, third)


def test_a_replaced_schema_is_kept(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(
            [
                "git",
                "-C",
                str(tmp_path),
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                *arguments,
            ],
            check=True,
            capture_output=True,
        )

    git("init", "-q")
    assert len(json_schemas.write_schemas(tmp_path)) == len(EVENTS)
    old = tmp_path / f"{RouteChanged.schema_name()}.json"
    old.write_text(json_schemas.rendered(changed(RouteChanged, give_default)[1]))
    git("add", ".")
    git("commit", "-q", "-m", "schemas: as they were")
    written = json_schemas.write_schemas(tmp_path)
    assert [path.parent.name for path in written] == [json_schemas.EARLIER, tmp_path.name]
    assert json_schemas.write_schemas(tmp_path) == []
    versions = json_schemas.earlier_versions(tmp_path, RouteChanged)
    assert len(versions) == 2
    problems = [
        problem
        for schema in versions.values()
        for problem in breaks(schema, json_schemas.schema_of(RouteChanged))
    ]
    assert problems[0].startswith("event.actor is required and was optional")
