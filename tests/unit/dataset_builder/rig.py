"""A whole dataset-builder without broker and HTTP port: events go to its handlers, jobs are run by
hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select

from schemas.base import Event, JsonObject, Message
from schemas.events import (
    DatasetBuilt,
    ReviewCompleted,
    ReviewRequested,
    RouteChanged,
)
from schemas.monitoring import RetrainHeld
from schemas.route import RetrainRule
from services.dataset_builder.app import build
from services.dataset_builder.order import JOB
from services.dataset_builder.readiness import Readiness
from services.dataset_builder.settings import Settings
from shared.jobs.worker import Job, run_leased
from tests import factories
from tests.unit.dataset_builder.corpus import messages, route

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Tables:
    verdicts: Table
    feedback: Table
    builds: Table
    datasets: Table


class Rig:
    def __init__(self, database_url: str, folder: Path, keys_file: str = "keys.json") -> None:
        self.folder = folder
        self.service = build(
            Settings(
                database_url=database_url,
                artifacts_url=f"file://{folder}/artifacts",
                keys_file=keys_file,
            )
        )
        self.db = self.service.db
        self.outbox = self.service.outbox
        parts = self.service.parts
        self.ledger = parts.ledger
        self.blobs = parts.blobs
        self.jobs = parts.jobs
        self.builder = parts.builder
        self.readings = Readiness(parts.ledger, parts.feedback)
        self.tables = Tables(
            parts.ledger.verdicts.table,
            parts.feedback.table,
            parts.ledger.builds.table,
            parts.ledger.datasets.table,
        )
        self.handlers = {topic.event: handler for topic, handler in self.service.handlers.items()}

    async def start(self) -> Rig:
        await self.db.create_tables(self.service.metadata)
        return self

    async def hear(self, *events: Event) -> None:
        """As the bus does it: inbox and effect in one transaction, an event heard twice has one
        effect.
        """
        async with self.db.transaction() as tx:  # one for all of them: a commit waits for the disk
            for event in events:
                if await self.outbox.first_time(tx, event.topic_name(), event.event_id):
                    await self.handlers[type(event)](tx, event)

    async def hear_again(self, *events: Event) -> None:
        """A producer that sent the same fact under a new event id: the inbox cannot know it."""
        await self.hear(
            *(event.model_copy(update={"event_id": f"{event.event_id}-again"}) for event in events)
        )

    async def work(self) -> Job | None:
        """Run the next job as the worker does; returns it."""
        job = await self.jobs.claim(JOB)
        if job:
            await run_leased(self.jobs, job, self.builder.run, self.builder.gave_up)
        return job

    async def announced(self) -> list[DatasetBuilt]:
        return [
            DatasetBuilt.model_validate_json(said) for said in await self._said("dataset-built")
        ]

    async def requested(self) -> list[ReviewRequested]:
        said = await self._said("review-requested")
        return [ReviewRequested.model_validate_json(one) for one in said]

    async def held(self) -> list[RetrainHeld]:
        return [RetrainHeld.model_validate_json(said) for said in await self._said("retrain-held")]

    async def _said(self, topic: str) -> list[str]:
        table = self.outbox.table
        wanted = select(table.c.payload).where(table.c.aggregatetype == topic)
        async with self.db.read() as connection:
            return list((await connection.execute(wanted.order_by(table.c.seq))).scalars())

    async def manifest(self, dataset_id: str) -> JsonObject:
        async with self.db.read() as connection:
            return (await self.ledger.datasets.get(connection, "acme", dataset_id)).manifest

    async def state(self) -> Any:
        async with self.db.read() as connection:
            return (await connection.execute(select(self.tables.builds))).one()

    async def contents(self) -> str:
        """Every table but the inbox and the outbox's times, as one string."""
        kept = [
            self.tables.verdicts,
            self.tables.feedback,
            self.tables.builds,
            self.tables.datasets,
            self.ledger.routes.table,
        ]
        async with self.db.read() as connection:
            return json.dumps(
                [
                    sorted(map(list, (await connection.execute(select(table))).all()), key=str)
                    for table in kept
                ],
                default=str,
            )


def known_route(needed: int = 30, after_drift: int = 10, **changes: Any) -> RouteChanged:
    rule = RetrainRule(min_new_verdicts=needed, min_new_after_drift=after_drift, recipe="tiny-cpu")
    return factories.route_changed(
        spec=route(**({"retrain": rule, "minimum_per_label": 1} | changes))
    )


def verdict(number: int, **changes: Any) -> ReviewCompleted:
    """The number-th message of the corpus, reviewed a minute after the one before."""
    text, label = messages()[number]
    return factories.review(
        **(
            {
                "review_id": f"review-{number:05}",
                "inference_id": f"inference-{number:05}",
                "answer": label,
                "messages": (
                    Message(role="system", content="the app's own prompt"),
                    Message(role="user", content=text),
                ),
                "occurred_at": START + timedelta(minutes=number),
            }
            | changes
        )
    )


def verdicts(first: int, last: int, **changes: Any) -> list[ReviewCompleted]:
    return [verdict(number, **changes) for number in range(first, last)]
