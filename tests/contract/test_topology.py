"""The map is the territory: what each service really subscribes to and publishes equals
schemas/topics.py.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faststream import AckPolicy
from faststream.kafka import KafkaRouter

from schemas.events import EVENTS
from schemas.topics import SERVICES, consumed_by, published_by

ROOT = Path(__file__).parents[2]
EVENT_NAMES = {event.__name__ for event in EVENTS}


def package(service: str) -> str:
    return service.replace("-", "_")


def handlers_of(service: str) -> Iterator[tuple[str, str, str, AckPolicy]]:
    """(topic, consumer group, name of the handler, what happens on errors) of every subscriber."""
    module = importlib.import_module(f"services.{package(service)}.handlers")
    for router in (value for value in vars(module).values() if isinstance(value, KafkaRouter)):
        for subscriber in router.subscribers:
            for topic in subscriber.topic_names:
                yield (
                    topic,
                    subscriber.group_id,
                    subscriber.calls[0].handler._original_call.__name__,
                    subscriber.ack_policy,
                )


def events_made_in(source: str) -> set[str]:
    """Every event that is constructed: `AdapterTrained(...)`, also as
    `events.AdapterTrained(...)`.
    """
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    names = {
        call.id if isinstance(call, ast.Name) else call.attr
        for call in calls
        if isinstance(call, ast.Name | ast.Attribute)
    }
    return names & EVENT_NAMES


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_subscribes_to_what_the_map_says(service: str) -> None:
    assert sorted(topic for topic, *_ in handlers_of(service)) == sorted(
        topic.name for topic in consumed_by(service)
    )


@pytest.mark.parametrize("service", SERVICES)
def test_each_subscriber_has_its_own_group_and_name_and_loses_nothing(service: str) -> None:
    for topic, group, name, policy in handlers_of(service):
        assert group == f"{service}.{topic}"
        assert name == f"on_{topic.replace('-', '_')}"
        assert policy is AckPolicy.NACK_ON_ERROR


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_publishes_what_the_map_says(service: str) -> None:
    sources = (ROOT / "services" / package(service)).rglob("*.py")
    made = {event for path in sources for event in events_made_in(path.read_text("utf-8"))}
    assert made == {topic.event.__name__ for topic in published_by(service)}


def test_the_search_for_events_sees_them() -> None:
    assert events_made_in("await outbox.add(tx, DriftDetected(x=1))") == {"DriftDetected"}
    assert events_made_in("e = events.RouteChanged(x=1)") == {"RouteChanged"}
    assert (
        events_made_in(
            "RouteChanged.model_validate(x); topics.ROUTE_CHANGED; isinstance(e, DatasetBuilt)"
        )
        == set()
    )


def test_nothing_publishes_past_the_outbox() -> None:
    """A publish beside the outbox is neither atomic with the effect nor seen by these tests."""
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (
                isinstance(called, ast.Attribute)
                and called.attr in ("publish", "publish_batch", "publisher")
            ), path
