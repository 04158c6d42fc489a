"""Row 6: topics promise each other no order. Whatever arrives first, the same events end in the
same state.

The handlers are called as the bus calls them, each event in a transaction with its inbox entry; one
that has to wait comes again.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import MetaData, select

from schemas.base import Event
from schemas.topics import topic_of
from shared.errors import RatchetError
from shared.service import Service
from tests import factories
from tests.faults.world import keys_file

LABELS = {
    "labels": ("delivery", "refund"),
    "review": {"rate": 0.5, "audit_rate": 0.2},
    "retrain": {"min_new_verdicts": 1000},
}
OLD, NEW = (
    factories.spec(**LABELS, label_descriptions={"refund": edition}) for edition in ("old", "new")
)
ASKED = [
    factories.inference(
        inference_id=f"inf-{number}", outcome="unsure" if number == 2 else "confident"
    )
    for number in range(4)
]
EVENTS: list[Event] = [
    factories.route_changed(version=1, spec=OLD),
    factories.route_changed(version=2, spec=NEW),
    *ASKED,
    factories.review_requested(inference_id="inf-2"),
    factories.feedback(feedback_id="f-0", inference_id="inf-0", value=0.0),
    factories.feedback(
        feedback_id="f-1", inference_id="inf-1", kind="correction", value=None, text="refund"
    ),
    factories.feedback(feedback_id="f-unknown", inference_id="nobody-knows", value=0.0),
    factories.review(review_id="r-0", inference_id="inf-0", verdict="approved"),
    factories.review(review_id="r-3", inference_id="inf-3", audit=True),
    factories.comparison_requested(comparison_id="pair-1", evaluation_id="e-1"),
    factories.comparison_requested(comparison_id="pair-2", evaluation_id="e-2"),
    factories.answers_compared(comparison_id="pair-1", evaluation_id="e-1"),
    factories.answers_compared(comparison_id="pair-1", evaluation_id="e-1", judge="model"),
    factories.evaluated(evaluation_id="e-1"),
]
PLUMBING = {"inbox", "outbox", "relay_lease", "alembic_version", "job_history"}
# made at arrival, or the turn that follows from it
OWN = {
    "item_id",
    "recorded_at",
    "queued_at",
    "claimed_at",
    "claimed_until",
    "seq",
    "rank",
}


def service_of(name: str, folder: Path) -> Service:
    app, kind = (importlib.import_module(f"services.{name}.{room}") for room in ("app", "settings"))
    needed = {"base_model": "org/model", "work_dir": folder / "work"} if name == "trainer" else {}
    return app.build(
        kind.Settings(
            **needed,
            database_url=f"sqlite+aiosqlite:///{folder}/{name}.db",
            artifacts_url=f"file://{folder}/artifacts",
            keys_file=keys_file(folder),
        )
    )


async def state_after(name: str, events: Sequence[Event], folder: Path) -> dict[str, list[str]]:
    service = service_of(name, folder)
    await service.db.create_tables(service.metadata)
    waiting = deque(
        event for event in events if name.replace("_", "-") in topic_of(type(event)).consumers
    )
    patience = 1000
    while waiting and patience:
        event = waiting.popleft()
        patience = patience - 1
        try:
            await deliver(service, event)
        except RatchetError as error:
            if not error.retryable:
                raise
            waiting.append(event)
    assert not waiting, waiting
    try:
        return await what_it_knows(service)
    finally:
        await service.db.close()


async def deliver(service: Service, event: Event) -> None:
    topic = topic_of(type(event))
    async with service.db.transaction() as tx:
        if await service.outbox.first_time(tx, topic.name, event.event_id):
            await service.handlers[topic](tx, event)


async def what_it_knows(service: Service) -> dict[str, list[str]]:
    metadata = MetaData()
    async with service.db.read() as connection:
        await connection.run_sync(metadata.reflect)
        return {
            table.name: sorted(
                plain(row) for row in (await connection.execute(select(table))).mappings()
            )
            for table in metadata.sorted_tables
            if table.name not in PLUMBING
        }


def plain(row: Any) -> str:
    return json.dumps(
        {name: str(value) for name, value in row.items() if name not in OWN}, sort_keys=True
    )


@pytest.mark.parametrize("name", ["review", "dataset_builder", "evaluator", "capture", "trainer"])
def test_any_order_ends_in_the_same_state(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    straight = asyncio.run(state_after(name, EVENTS, tmp_path_factory.mktemp("straight")))

    @settings(
        max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(order=st.permutations(EVENTS), again=st.lists(st.sampled_from(EVENTS), max_size=4))
    def shuffled(order: list[Event], again: list[Event]) -> None:
        """Some of the events come a second time, anywhere after all of them."""
        found = asyncio.run(
            state_after(name, [*order, *again], tmp_path_factory.mktemp("shuffled"))
        )
        assert found == straight, [event.topic_name() for event in order]

    shuffled()
