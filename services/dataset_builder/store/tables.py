"""The dataset-builder's tables."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table


@dataclass(frozen=True)
class Tables:
    verdicts: Table
    feedback: Table
    builds: Table
    datasets: Table


def dataset_tables(metadata: MetaData) -> Tables:
    """`verdicts.build` is the first build that holds the verdict, so each attempt at a build reads
    the same rows.
    """
    verdicts = Table(
        "verdicts",
        metadata,
        Column("review_id", String(64), primary_key=True),
        Column("route", String(200), nullable=False),
        Column("build", Integer, nullable=False),
        Column("trainable", Boolean, nullable=False),
        Column("audit", Boolean, nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("inference_id", String(200), nullable=False, index=True),
        Column("reviewer", String(200), nullable=False),
        Column("reviewed_us", BigInteger, nullable=False),
        Column("reason", String(64), nullable=False),
        Column("messages", String, nullable=False),
        Column("answer", String),
        Index("verdicts_new", "route", "trainable", "build"),
    )
    feedback = Table(
        "feedback",
        metadata,
        Column("feedback_id", String(200), primary_key=True),
        Column("route", String(200), nullable=False, index=True),
        Column("inference_id", String(200), nullable=False, index=True),
        Column("kind", String(16), nullable=False),
        Column("value", Float),
        Column("text", String),
        Column("source", String(200), nullable=False),
        Column("given_us", BigInteger, nullable=False),
    )
    builds = Table(
        "builds",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("attempts", Integer, nullable=False),
        Column("built", Integer, nullable=False),
        Column("building", Integer, nullable=False),
        Column("drift_id", String(64)),
        Column("drift_us", BigInteger),
        Column("wait", Integer, nullable=False),
        Column("refusal", String),
        Column("dataset_id", String(200)),
    )
    datasets = Table(
        "datasets",
        metadata,
        Column("dataset_id", String(200), primary_key=True),
        Column("route", String(200), nullable=False, index=True),
        Column("built_us", BigInteger, nullable=False),
        Column("event", String, nullable=False),
        Column("manifest", String, nullable=False),
    )
    return Tables(verdicts, feedback, builds, datasets)
