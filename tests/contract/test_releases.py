"""Two releases side by side: what today's code writes, the last release reads; what any release
wrote, today's code reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from infra.contracts import json_schemas
from infra.contracts.compatibility import breaks
from infra.contracts.releases import (
    READ_BEFORE_WRITTEN,
    ReleaseKept,
    SchemaMissing,
    released,
    releases,
    write_release,
)
from schemas.base import Event
from schemas.events import EVENTS, InferenceRecorded
from tests import factories
from tests.contract.generated import instances
from tests.contract.test_schemas import with_news

ROOT = Path(__file__).parents[2]
JSON = ROOT / "schemas" / "json"
LAST = releases(JSON)[-1]
OLD = released(JSON, LAST)
patiently = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
# the smallest example is not wanted
until_found = settings(patiently, max_examples=1000, phases=[Phase.generate], database=None)
every_event = pytest.mark.parametrize(
    "event",
    [event for event in EVENTS if event.schema_name() in OLD],
    ids=lambda event: event.__name__,
)


def old_consumer(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(OLD[name], format_checker=jsonschema.FormatChecker())


def unreadable(name: str, body: Any) -> list[str]:
    """What the last release would send to its dead letters, and why."""
    found = [
        (
            ".".join(str(part) for part in error.absolute_path if isinstance(part, str)),
            error.message,
        )
        for error in old_consumer(name).iter_errors(body)
    ]
    return [
        f"{field}: {message}"
        for field, message in found
        if f"{name}: {field}" not in READ_BEFORE_WRITTEN
    ]


def as_published(event: BaseModel) -> Any:
    return json.loads(event.model_dump_json())


@every_event
@pytest.mark.parametrize("full", [False, True], ids=["any", "every-field"])
def test_the_last_release_reads_what_today_is_written(event: type[Event], full: bool) -> None:
    @patiently
    @given(instances(event, full), st.booleans())
    def holds(made: Event, news: bool) -> None:
        body = as_published(made)
        assert unreadable(event.schema_name(), with_news(event, body) if news else body) == []

    holds()


@every_event
def test_what_is_written_is_read_back_the_same(event: type[Event]) -> None:
    """The generator writes what the models allow, and the log carries it."""

    @patiently
    @given(instances(event))
    def holds(made: Event) -> None:
        assert event.model_validate_json(made.model_dump_json()) == made

    holds()


@pytest.mark.parametrize("version", releases(JSON))
def test_what_any_release_wrote_is_read_today(version: str) -> None:
    now = {event.schema_name(): json_schemas.schema_of(event) for event in EVENTS}
    found = {
        name: (
            breaks(schema, now[name])
            if name in now
            else [f"{name} is gone: its events are still in the log"]
        )
        for name, schema in released(JSON, version).items()
    }
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"outcome": (Literal["confident", "redirected"], "confident")}, "outcome"),
        ({"latency_ms": (str, Field(default="12 ms"))}, "latency_ms"),
        ({"answer": (str | None, None)}, "answer"),
        ({"latency_ms": (float, Field(default=0.0, ge=-1e6))}, "latency_ms"),
        ({"metadata": (dict[str, int], {})}, "metadata"),
        ({"route": (str, Field(pattern=r"^[A-Z]{3}$"))}, "route"),
    ],
    ids=[
        "another-value",
        "another-type",
        "nullable",
        "lower-limit",
        "other-values-in-a-map",
        "another-pattern",
    ],
)
def test_what_the_last_release_cannot_read_is_reported(fields: dict[str, Any], field: str) -> None:
    """The control: models of a tomorrow that breaks with it."""
    tomorrow = create_model("InferenceRecorded", __base__=InferenceRecorded, **fields)

    @until_found
    @given(instances(tomorrow) | instances(tomorrow, full=True))
    def holds(made: BaseModel) -> None:
        problems = unreadable("inference-recorded.v1", as_published(made))
        assert not problems, problems[0]

    with pytest.raises(AssertionError, match=f"^{field}"):
        holds()


def test_a_field_that_is_gone_is_reported() -> None:
    body = as_published(
        InferenceRecorded.model_validate(
            json.loads(
                next((ROOT / "schemas/examples/inference-recorded/v1").glob("*.json")).read_text()
            )
        )
    )
    del body["answer"]
    assert unreadable("inference-recorded.v1", body) == [": 'answer' is a required property"]


def test_a_value_that_nobody_writes_yet_is_an_exception_with_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = as_published(factories.inference()) | {"outcome": "redirected"}
    assert unreadable("inference-recorded.v1", body) == [
        "outcome: 'redirected' is not one of ['confident', 'fell_back', 'unsure', 'external']"
    ]
    monkeypatch.setitem(
        READ_BEFORE_WRITTEN, "inference-recorded.v1: outcome", "read since 0.2, written from 0.3 on"
    )
    assert unreadable("inference-recorded.v1", body) == []


def test_what_a_release_shipped_never_changes(tmp_path: Path) -> None:
    json_schemas.write_schemas(tmp_path)
    assert write_release(tmp_path, "1.0") == [tmp_path / "released" / "1.0.json"]
    assert write_release(tmp_path, "1.0") == []
    path = tmp_path / "route-changed.v1.json"
    before = path.read_text()
    path.write_text(before.replace("challenger", "contender"))
    with pytest.raises(SchemaMissing, match=r"release 1\.0 shipped a route-changed\.v1"):
        released(tmp_path, "1.0")
    json_schemas.keep(tmp_path / json_schemas.EARLIER, path.stem, before)
    assert "challenger" in released(tmp_path, "1.0")["route-changed.v1"]["properties"]
    (tmp_path / "released" / "1.0.json").write_text(json.dumps({"route-changed.v1": "0" * 64}))
    with pytest.raises(ReleaseKept):
        write_release(tmp_path, "1.0")


def test_releases_are_in_order(tmp_path: Path) -> None:
    for version in ("0.10.0", "0.9.1", "0.2.0"):
        write_release(tmp_path, version)
    assert releases(tmp_path) == ["0.2.0", "0.9.1", "0.10.0"]
