"""The router's tables. `routes` has one row a route, and `route_history` is only ever added to."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

# How the base model is written where an adapter id stands.
BASE = ""


@dataclass(frozen=True)
class Tables:
    routes: Table
    history: Table
    calibrations: Table
    evaluations: Table
    canaries: Table
    waiting: Table
    outcomes: Table
    trials: Table
    shadows: Table
    decisions: Table
    repeats: Table


def router_tables(metadata: MetaData) -> Tables:
    return Tables(
        routes=routes_table(metadata),
        history=history_table(metadata),
        calibrations=calibrations_table(metadata),
        evaluations=evaluations_table(metadata),
        canaries=canaries_table(metadata),
        waiting=waiting_table(metadata),
        outcomes=outcomes_table(metadata),
        trials=trials_table(metadata),
        shadows=shadows_table(metadata),
        decisions=decisions_table(metadata),
        repeats=repeats_table(metadata),
    )


def routes_table(metadata: MetaData) -> Table:
    return Table(
        "routes",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("version", Integer, nullable=False),
        Column("state", String, nullable=False),
    )


def history_table(metadata: MetaData) -> Table:
    return Table(
        "route_history",
        metadata,
        Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        Column("route", String(200), nullable=False),
        Column("version", Integer, nullable=False),
        Column("champion", String(200)),
        Column("challenger", String(200)),
        Column("because", String, nullable=False),
        Column("actor", String(200), nullable=False),
        Column("at", Float, nullable=False),
        Column("state", String, nullable=False),
        UniqueConstraint("route", "version"),
    )


def calibrations_table(metadata: MetaData) -> Table:
    return Table(
        "calibrations",
        metadata,
        Column("calibration_id", String(64), primary_key=True),
        Column("route", String(200), nullable=False, index=True),
        Column("adapter_id", String(200), nullable=False),
        Column("fitted_at", Float, nullable=False),
        # None where a release wrote it that named nothing.
        Column("holds_for", String(64)),
        Column("behind", String(64)),
        Column("event", String, nullable=False),
    )


def evaluations_table(metadata: MetaData) -> Table:
    return Table(
        "evaluations",
        metadata,
        Column("evaluation_id", String(64), primary_key=True),
        Column("route", String(200), nullable=False),
        Column("adapter_id", String(200), nullable=False, index=True),
        Column("verdict", String(16), nullable=False),
        Column("decision", String, nullable=False),
        Column("evaluated_at", Float, nullable=False),
        Column("event", String, nullable=False),
    )


def canaries_table(metadata: MetaData) -> Table:
    return Table(
        "canaries",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("adapter_id", String(200), primary_key=True),
        Column("started_at", Float, nullable=False),
    )


def waiting_table(metadata: MetaData) -> Table:
    """Make the table of questions that a challenger has and has not answered, by process."""
    return Table(
        "canary_waiting",
        metadata,
        Column("process", String(64), primary_key=True),
        Column("adapter_id", String(200), primary_key=True),
        Column("waiting", Integer, nullable=False),
        # By the database's clock.
        Column("at", Float(53), nullable=False),
    )


def outcomes_table(metadata: MetaData) -> Table:
    return Table(
        "outcomes",
        metadata,
        Column("review_id", String(64), primary_key=True),
        Column("route", String(200), nullable=False),
        Column("inference_id", String(64), nullable=False),
        Column("arm", String(16), nullable=False),
        Column("adapter_id", String(200), index=True),
        Column("verdict", String(16), nullable=False),
        Column("probability", Float, nullable=False),
        Column("at", Float, nullable=False),
        Index("outcomes_of_route", "route", "at"),
    )


def trials_table(metadata: MetaData) -> Table:
    """Make the table of champions that may still be rolled back, with what they failed in."""
    return Table(
        "trials",
        metadata,
        Column("route", String(200), primary_key=True),
        Column("adapter_id", String(200), primary_key=True),
        # Answers up to then are counted; seconds since the epoch.
        Column("counted_to", Float(53), nullable=False),
        Column("asked", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("looks", Integer, nullable=False),
        # The sums of a FailureWatch, as JSON.
        Column("sums", String, nullable=False),
    )


def shadows_table(metadata: MetaData) -> Table:
    """Make the table of questions that an adapter on trial and what it replaces both answered."""
    return Table(
        "shadows",
        metadata,
        Column("inference_id", String(64), primary_key=True),
        Column("route", String(200), nullable=False),
        # The adapter on trial, and what it replaces (BASE is the base model).
        Column("new", String(200), nullable=False),
        Column("old", String(200), nullable=False),
        # Digests of the answers as they are compared, "" where the form is broken.
        Column("new_answer", String(64), nullable=False),
        Column("old_answer", String(64), nullable=False),
        # None until a reviewer of the uniform sample decided.
        Column("new_right", Boolean),
        Column("old_right", Boolean),
        Column("at", Float(53), nullable=False),
        Index("shadows_of_route", "route", "new", "at"),
    )


def decisions_table(metadata: MetaData) -> Table:
    return Table(
        "decisions",
        metadata,
        Column("inference_id", String(64), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("route", String(200), nullable=False),
        Column("picked", String(200)),
        Column("failed", Boolean, nullable=False),
        Column("at", Float, nullable=False),
        # None where nobody was answered: the caller left, or no model answered.
        Column("event", String),
        Index("decisions_picked", "picked", "at"),
    )


def repeats_table(metadata: MetaData) -> Table:
    return Table(
        "repeats",
        metadata,
        # SHA-256 of an application and the key it sent, and of the request.
        Column("key", String(64), primary_key=True),
        Column("request", String(64), nullable=False),
        Column("inference_id", String(64), nullable=False),
        # Whether the recorded answer is the one that was given.
        Column("is_whole", Boolean, nullable=False),
        Column("finish_reason", String(64), nullable=False),
        Column("tool", String(64)),
        Column("at", Float, nullable=False, index=True),
    )
