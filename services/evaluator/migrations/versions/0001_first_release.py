"""The tables of the first release, which its services made themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
LOSES = "every row"


def upgrade() -> None:
    op.create_table(
        "drift_alarms",
        sa.Column("drift_id", sa.String(36), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("drift_id"),
    )
    op.create_index("ix_drift_alarms_route", "drift_alarms", ["route"])
    op.create_table(
        "evaluations",
        sa.Column("evaluation_id", sa.String(36), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("adapter_id", sa.String(256), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("calibrations", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id"),
    )
    op.create_index("ix_evaluations_adapter_id", "evaluations", ["adapter_id"])
    op.create_index("ix_evaluations_route", "evaluations", ["route"])
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.String(64), nullable=False),
        sa.Column("inference_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("feedback_id"),
    )
    op.create_index("ix_feedback_inference_id", "feedback", ["inference_id"])
    op.create_table(
        "inbox",
        sa.Column("topic", sa.String(128), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "event_id"),
    )
    op.create_table(
        "jobs",
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key", sa.String(256), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
        sa.UniqueConstraint("key"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_table(
        "monitors",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("adapter_id", sa.String(256), nullable=False),
        sa.Column("episode", sa.String(32), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Integer(), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("windows", sa.Integer(), nullable=False),
        sa.Column("recent", sa.String(), nullable=False),
        sa.Column("statistics", sa.String(), nullable=False),
        sa.Column("input_drift_id", sa.String()),
        sa.Column("tolerated", sa.Float(), nullable=False),
        sa.Column("run_length", sa.Float(), nullable=False),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("error_fired", sa.Integer(), nullable=False),
        sa.Column("error_drift_id", sa.String()),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "observations",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("inference_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("adapter_id", sa.String(256), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("p_correct", sa.Float()),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("words", sa.Integer(), nullable=False),
        sa.Column("wording", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("inference_id"),
    )
    op.create_index("observations_in_order", "observations", ["route", "adapter_id", "seq"])
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
        "reviews",
        sa.Column("review_id", sa.String(64), nullable=False),
        sa.Column("inference_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("adapter_id", sa.String(256)),
        sa.Column("arm", sa.String(16), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("audit", sa.Integer(), nullable=False),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.Column("score", sa.Float()),
        sa.PrimaryKeyConstraint("review_id"),
    )
    op.create_index("reviews_in_order", "reviews", ["route", "adapter_id", "at"])
    op.create_table(
        "routes",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )


def downgrade() -> None:
    op.drop_table("routes")
    op.drop_index("reviews_in_order", "reviews")
    op.drop_table("reviews")
    op.drop_index("ix_outbox_sent_at", "outbox")
    op.drop_table("outbox")
    op.drop_index("observations_in_order", "observations")
    op.drop_table("observations")
    op.drop_table("monitors")
    op.drop_index("ix_jobs_state", "jobs")
    op.drop_table("jobs")
    op.drop_table("inbox")
    op.drop_index("ix_feedback_inference_id", "feedback")
    op.drop_table("feedback")
    op.drop_index("ix_evaluations_route", "evaluations")
    op.drop_index("ix_evaluations_adapter_id", "evaluations")
    op.drop_table("evaluations")
    op.drop_index("ix_drift_alarms_route", "drift_alarms")
    op.drop_table("drift_alarms")
