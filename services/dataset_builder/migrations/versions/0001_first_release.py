"""The tables of the first release, which its services made themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
LOSES = "every row"


def upgrade() -> None:
    op.create_table(
        "builds",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("built", sa.Integer(), nullable=False),
        sa.Column("building", sa.Integer(), nullable=False),
        sa.Column("drift_id", sa.String(64)),
        sa.Column("drift_us", sa.BigInteger()),
        sa.Column("wait", sa.Integer(), nullable=False),
        sa.Column("refusal", sa.String()),
        sa.Column("dataset_id", sa.String(200)),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "datasets",
        sa.Column("dataset_id", sa.String(200), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("built_us", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("manifest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id"),
    )
    op.create_index("ix_datasets_route", "datasets", ["route"])
    op.create_table(
        "feedback",
        sa.Column("feedback_id", sa.String(200), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("inference_id", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Float()),
        sa.Column("text", sa.String()),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("given_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("feedback_id"),
    )
    op.create_index("ix_feedback_inference_id", "feedback", ["inference_id"])
    op.create_index("ix_feedback_route", "feedback", ["route"])
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
        "routes",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "verdicts",
        sa.Column("review_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("trainable", sa.Boolean(), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("inference_id", sa.String(200), nullable=False),
        sa.Column("reviewer", sa.String(200), nullable=False),
        sa.Column("reviewed_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("messages", sa.String(), nullable=False),
        sa.Column("answer", sa.String()),
        sa.PrimaryKeyConstraint("review_id"),
    )
    op.create_index("ix_verdicts_inference_id", "verdicts", ["inference_id"])
    op.create_index("verdicts_new", "verdicts", ["route", "trainable", "build"])


def downgrade() -> None:
    op.drop_index("verdicts_new", "verdicts")
    op.drop_index("ix_verdicts_inference_id", "verdicts")
    op.drop_table("verdicts")
    op.drop_table("routes")
    op.drop_index("ix_outbox_sent_at", "outbox")
    op.drop_table("outbox")
    op.drop_index("ix_jobs_state", "jobs")
    op.drop_table("jobs")
    op.drop_table("inbox")
    op.drop_index("ix_feedback_route", "feedback")
    op.drop_index("ix_feedback_inference_id", "feedback")
    op.drop_table("feedback")
    op.drop_index("ix_datasets_route", "datasets")
    op.drop_table("datasets")
    op.drop_table("builds")
