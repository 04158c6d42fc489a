"""The tables of the streams, as SQL declares them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table


def observations_table(metadata: MetaData) -> Table:
    """Declare the table. `seq` counts in the order of arrival; `at` is seconds since the epoch."""
    return Table(
        "observations",
        metadata,
        Column("seq", sa.BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("inference_id", String(64), nullable=False, unique=True),
        Column("route", String(200), nullable=False),
        Column("adapter_id", String(256), nullable=False),
        Column("at", Float, nullable=False),
        Column("score", Float, nullable=False),
        Column("p_correct", Float),
        Column("label", String, nullable=False),
        Column("words", Integer, nullable=False),
        Column("wording", sa.LargeBinary, nullable=False),
        Column("outcome", String(16), nullable=False),
        Index("observations_in_order", "route", "adapter_id", "seq"),
    )


def reviews_table(metadata: MetaData) -> Table:
    return Table(
        "reviews",
        metadata,
        Column("review_id", String(64), primary_key=True),
        Column("inference_id", String(64), nullable=False),
        Column("route", String(200), nullable=False),
        Column("adapter_id", String(256)),
        Column("arm", String(16), nullable=False),
        Column("at", Float, nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("audit", Integer, nullable=False),
        Column("probability", Float, nullable=False),
        Column("score", Float),
        Column("withdrawn", Integer, nullable=False, server_default="0"),
        # When the answer was given, why it was reviewed, and what was predicted of it; absent on
        # verdicts that a release before this one stored.
        Column("asked", Float),
        Column("reason", String(64)),
        Column("predicted", Float),
        Index("reviews_in_order", "route", "adapter_id", "at"),
        Index("reviews_by_answer", "route", "asked"),
    )


def feedback_table(metadata: MetaData) -> Table:
    return Table(
        "feedback",
        metadata,
        Column("feedback_id", String(64), primary_key=True),
        Column("inference_id", String(64), nullable=False, index=True),
        Column("route", String(200), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("value", Float),
        Column("at", Float, nullable=False),
    )
