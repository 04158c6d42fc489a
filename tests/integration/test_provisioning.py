"""Topics that come by themselves while they are provisioned still end with all their partitions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra import topics
from infra.topics import BrokerAway, ProvisioningFailed, admin, partitions_of
from tests.kafka import EmbeddedBroker


def test_a_topic_that_a_client_made_meanwhile_is_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded log makes a topic of one partition for whoever asks for it, also between our
    look and our creating.
    """
    create = topics.create

    def late(client, wanted) -> None:
        client.create_topics({"adapter-trained": {"num_partitions": 1, "replication_factor": 1}})
        create(client, wanted)

    broker = EmbeddedBroker(tmp_path)
    broker.process = subprocess.Popen(
        broker.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        monkeypatch.setattr(topics, "create", late)
        for _ in range(200):
            try:
                topics.provision(broker.servers)
                break
            except (BrokerAway, ProvisioningFailed):
                continue
        with admin(broker.servers) as client:
            made = partitions_of(client)
        assert {plan.name: made.get(plan.name) for plan in topics.planned()} == {
            plan.name: plan.partitions for plan in topics.planned()
        }
    finally:
        broker.stop()
