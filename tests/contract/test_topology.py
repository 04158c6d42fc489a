"""The map is the territory: what each service really subscribes to and publishes equals
schemas/topics.py.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from faststream import AckPolicy

from infra.migrations import built
from schemas.events import EVENTS
from schemas.topics import SERVICES, consumed_by, published_by

ROOT = Path(__file__).parents[2]
EVENT_NAMES = {event.__name__ for event in EVENTS}


def package(service: str) -> str:
    return service.replace("-", "_")


async def subscriptions_of(
    service: str, folder: Path
) -> list[tuple[str, str | None, str, AckPolicy]]:
    """(topic, consumer group, name of the handler, what happens on errors) of every subscriber."""
    made = await built(service, folder)
    names = {topic.name: handler.__name__ for topic, handler in made.handlers.items()}
    return [
        (topic, subscriber.group_id, names[topic], subscriber.ack_policy)
        for subscriber in made.broker.subscribers
        for topic in subscriber.topic_names
    ]


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
async def test_a_service_subscribes_to_what_the_map_says(service: str, tmp_path: Path) -> None:
    found = await subscriptions_of(service, tmp_path)
    assert sorted(topic for topic, *_ in found) == sorted(
        topic.name for topic in consumed_by(service)
    )


@pytest.mark.parametrize("service", SERVICES)
async def test_each_subscriber_has_its_own_group_and_name_and_loses_nothing(
    service: str, tmp_path: Path
) -> None:
    for topic, group, name, policy in await subscriptions_of(service, tmp_path):
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
