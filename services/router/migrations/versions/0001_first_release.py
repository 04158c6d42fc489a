"""The tables of the first release, which its services made themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
LOSES = "every row"


def upgrade() -> None:
    op.create_table(
        "calibrations",
        sa.Column("calibration_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("adapter_id", sa.String(200), nullable=False),
        sa.Column("fitted_at", sa.Float(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("calibration_id"),
    )
    op.create_index("ix_calibrations_route", "calibrations", ["route"])
    op.create_table(
        "canaries",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("adapter_id", sa.String(200), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("route", "adapter_id"),
    )
    op.create_table(
        "decisions",
        sa.Column("inference_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("picked", sa.String(200)),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("inference_id"),
    )
    op.create_index("decisions_picked", "decisions", ["picked", "at"])
    op.create_table(
        "evaluations",
        sa.Column("evaluation_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("adapter_id", sa.String(200), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("evaluated_at", sa.Float(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id"),
    )
    op.create_index("ix_evaluations_adapter_id", "evaluations", ["adapter_id"])
    op.create_table(
        "inbox",
        sa.Column("topic", sa.String(128), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "event_id"),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("aggregatetype", sa.String(128), nullable=False),
        sa.Column("aggregateid", sa.String(256)),
        sa.Column("type", sa.String(128), nullable=False),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("headers", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_outbox_sent_at", "outbox", ["sent_at"])
    op.create_table(
        "outcomes",
        sa.Column("review_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("inference_id", sa.String(64), nullable=False),
        sa.Column("arm", sa.String(16), nullable=False),
        sa.Column("adapter_id", sa.String(200)),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("review_id"),
    )
    op.create_index("ix_outcomes_adapter_id", "outcomes", ["adapter_id"])
    op.create_table(
        "route_history",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("champion", sa.String(200)),
        sa.Column("challenger", sa.String(200)),
        sa.Column("because", sa.String(), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("route", "version"),
    )
    op.create_table(
        "routes",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )


def downgrade() -> None:
    op.drop_table("routes")
    op.drop_table("route_history")
    op.drop_index("ix_outcomes_adapter_id", "outcomes")
    op.drop_table("outcomes")
    op.drop_index("ix_outbox_sent_at", "outbox")
    op.drop_table("outbox")
    op.drop_table("inbox")
    op.drop_index("ix_evaluations_adapter_id", "evaluations")
    op.drop_table("evaluations")
    op.drop_index("decisions_picked", "decisions")
    op.drop_table("decisions")
    op.drop_table("canaries")
    op.drop_index("ix_calibrations_route", "calibrations")
    op.drop_table("calibrations")
