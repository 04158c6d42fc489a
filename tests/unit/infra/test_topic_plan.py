"""The topics that will be made, without a broker."""

from __future__ import annotations

import pytest

from infra.local.ports import free_port
from infra.topics import BrokerAway, planned, provision
from schemas.topics import SERVICES, TOPICS


def test_every_topic_of_the_map_and_a_dead_letter_topic_per_service_is_planned() -> None:
    names = [plan.name for plan in planned()]
    assert names == [topic.name for topic in TOPICS] + [f"{service}-dlq" for service in SERVICES]


def test_only_route_changed_is_compacted() -> None:
    assert [
        plan.name for plan in planned() if plan.config(1).get("cleanup.policy") == "compact"
    ] == ["route-changed"]


def test_three_replicas_must_agree_by_two() -> None:
    assert all(
        plan.config(3)["min.insync.replicas"] == "2" and "min.insync.replicas" not in plan.config(1)
        for plan in planned()
    )


def test_a_broker_that_is_away_is_named_with_what_to_do() -> None:
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerAway, match=f"no Kafka answers at {servers}.*ratchet up"):
        provision(servers)
