"""The tables of review, and what their rows are read as. Times are seconds since the epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
)

from schemas.events import RouteChanged
from schemas.route import RouteSpec
from services.review.items import Arrival, Card, Exchange, ReviewItem
from shared.storage import seconds

# Of an item whose verdict counts no longer.
UNDECIDED = dict.fromkeys(
    ("verdict", "answer", "reviewer", "guideline", "slices", "done_at", "seconds")
)


@dataclass(frozen=True)
class Tables:
    items: Table
    batches: Table
    secrets: Table
    skips: Table
    budgets: Table
    comparisons: Table
    concluded: Table


def review_tables(metadata: MetaData) -> Tables:
    """Declare the tables."""
    return Tables(
        items_table(metadata),
        batches_table(metadata),
        secrets_table(metadata),
        skips_table(metadata),
        budgets_table(metadata),
        comparisons_table(metadata),
        concluded_table(metadata),
    )


def items_table(metadata: MetaData) -> Table:
    """Declare the table with one row per inference: what the coin set aside waits there,
    compressed, for late feedback, until housekeeping forgets it.
    """
    return Table(
        "items",
        metadata,
        Column("item_id", String(36), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("inference_id", String(256), nullable=False),
        Column("route", String(200), nullable=False),
        Column("state", String(16), nullable=False),
        Column("rank", Integer, nullable=False),
        seconds("recorded_at", nullable=False),
        seconds("queued_at"),
        Column("coin", Float(53), nullable=False),
        Column("audit", Boolean, nullable=False, default=False),
        Column("probability", Float(53)),
        Column("reason", String(16)),
        Column("unsure", Boolean, nullable=False, default=False),
        Column("complaint", Boolean, nullable=False, default=False),
        Column("suggestion", String),
        Column("asked", LargeBinary),
        # JSON, of what older releases did not keep.
        Column("metadata", String),
        # Verdicts on it that were taken back.
        Column("withdrawn", Integer, nullable=False, default=0, server_default="0"),
        # JSON: what reviewers said of the question, for whom it comes to again.
        Column("disagreement", String),
        # Nobody reads it: `skips` says it. Replicas of the last release write it while they are
        # replaced.
        Column("contested", String(128)),
        # Of a second look: the verdict that it checks, whose that was, and the inference, which
        # has `inference_id` in the first row.
        Column("second_of", String(64)),
        Column("not_for", String(128)),
        Column("about", String(256)),
        # The day (UTC) of an answer that is unsure only because nothing is certified yet.
        Column("provisional_on", String(10)),
        Column("claimed_by", String(64)),
        seconds("claimed_at", nullable=False, default=0.0),
        seconds("claimed_until", nullable=False, default=0.0),
        Column("verdict", String(16)),
        Column("answer", String),
        Column("reviewer", String(128)),
        Column("guideline", String),
        # JSON: values by key.
        Column("slices", String),
        seconds("done_at"),
        seconds("seconds"),
        UniqueConstraint("tenant", "inference_id"),
        Index("ix_items_queue", "tenant", "state", "rank", "queued_at"),
        Index("ix_items_age", "state", "recorded_at"),
        Index("ix_items_done", "tenant", "state", "done_at"),
        Index("ix_items_claim", "claimed_by", "state"),
    )


def batches_table(metadata: MetaData) -> Table:
    return Table(
        "drift_batches",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("drift_id", String(64), nullable=False),
        Column("remaining", Integer, nullable=False),
    )


def secrets_table(metadata: MetaData) -> Table:
    return Table(
        "secrets",
        metadata,
        Column("name", String(32), primary_key=True),
        Column("value", String(128), nullable=False),
    )


def skips_table(metadata: MetaData) -> Table:
    """Declare the table of who skipped which item or comparison, and when it is back with them."""
    return Table(
        "skips",
        metadata,
        Column("item_id", String(64), primary_key=True),
        Column("reviewer", String(128), primary_key=True),
        seconds("back_at", nullable=False),
    )


def budgets_table(metadata: MetaData) -> Table:
    """Declare the table of what each route took of its daily budget (UTC)."""
    return Table(
        "budgets",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("day", String(10), primary_key=True),
        Column("taken", Integer, nullable=False),
    )


def comparisons_table(metadata: MetaData) -> Table:
    """Declare the table of answers to compare; `asked` holds them, compressed."""
    return Table(
        "comparisons",
        metadata,
        Column("comparison_id", String(64), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("route", String(200), nullable=False),
        Column("evaluation_id", String(64), nullable=False),
        Column("asked", LargeBinary, nullable=False),
        seconds("queued_at", nullable=False),
        Column("claimed_by", String(64)),
        seconds("claimed_at", nullable=False, default=0.0),
        seconds("claimed_until", nullable=False, default=0.0),
        Column("judgement", String(16)),
        Column("reviewer", String(128)),
        seconds("done_at"),
        Index("ix_comparisons_queue", "tenant", "judgement", "queued_at"),
        Index("ix_comparisons_age", "queued_at"),
    )


def concluded_table(metadata: MetaData) -> Table:
    """Declare the table of evaluations that are over, of which no pair is asked about any more."""
    return Table(
        "concluded",
        metadata,
        Column("evaluation_id", String(64), primary_key=True),
        seconds("at", nullable=False),
    )


def arrival_of(row: Row[Any]) -> Arrival:
    return Arrival(
        row.item_id,
        row.state,
        row.coin,
        row.unsure,
        row.complaint,
        row.rank,
        row.audit,
        float(row.recorded_at),
        row.provisional_on,
    )


def card_of(row: Row[Any]) -> Card:
    """Read an item from a row that joins it with its route and with the database's clock."""
    return Card(item_of(row, row.now), spec_of(row.route_state))


def spec_of(state: str | None) -> RouteSpec | None:
    """Read a route, nothing where there is none or it cannot be read."""
    try:
        return RouteChanged.model_validate_json(state or "").spec
    except ValueError:
        return None


def item_of(row: Row[Any], now: float | Decimal) -> ReviewItem:
    """Read an item. `now` is the time at which its claim is judged, by the database's clock."""
    return ReviewItem(
        item_id=row.item_id,
        inference_id=row.about or row.inference_id,
        tenant=row.tenant,
        route=row.route,
        state=row.state,
        reason=row.reason,
        audit=row.audit,
        probability=row.probability,
        coin=row.coin,
        exchange=Exchange.read(row.asked),
        metadata=json.loads(row.metadata or "{}"),
        suggestion=row.suggestion,
        claimed_by=row.claimed_by,
        claimed_at=row.claimed_at,
        claimed_until=row.claimed_until,
        verdict=row.verdict,
        answer=row.answer,
        reviewer=row.reviewer,
        done_at=row.done_at,
        seconds=row.seconds,
        guideline=row.guideline,
        slices=json.loads(row.slices or "{}"),
        withdrawn=row.withdrawn,
        second_of=row.second_of,
        not_for=row.not_for,
        disagreement=json.loads(row.disagreement or "{}"),
        read_at=float(now),
    )
