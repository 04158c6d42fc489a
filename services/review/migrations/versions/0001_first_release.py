"""The tables of the first release, which its services made themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
LOSES = "every row"


def upgrade() -> None:
    op.create_table(
        "drift_batches",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("drift_id", sa.String(64), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "inbox",
        sa.Column("topic", sa.String(128), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "event_id"),
    )
    op.create_table(
        "items",
        sa.Column("item_id", sa.String(36), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("inference_id", sa.String(256), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.Column("queued_at", sa.Float()),
        sa.Column("coin", sa.Float(precision=53), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("probability", sa.Float(precision=53)),
        sa.Column("reason", sa.String(16)),
        sa.Column("unsure", sa.Boolean(), nullable=False),
        sa.Column("complaint", sa.Boolean(), nullable=False),
        sa.Column("suggestion", sa.String()),
        sa.Column("asked", sa.LargeBinary()),
        sa.Column("claimed_by", sa.String(64)),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.Column("claimed_until", sa.Float(), nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("answer", sa.String()),
        sa.Column("reviewer", sa.String(128)),
        sa.Column("done_at", sa.Float()),
        sa.Column("seconds", sa.Float()),
        sa.PrimaryKeyConstraint("item_id"),
        sa.UniqueConstraint("tenant", "inference_id"),
    )
    op.create_index("ix_items_age", "items", ["state", "recorded_at"])
    op.create_index("ix_items_claim", "items", ["claimed_by", "state"])
    op.create_index("ix_items_done", "items", ["tenant", "state", "done_at"])
    op.create_index("ix_items_queue", "items", ["tenant", "state", "rank", "queued_at"])
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
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def downgrade() -> None:
    op.drop_table("secrets")
    op.drop_table("routes")
    op.drop_index("ix_outbox_sent_at", "outbox")
    op.drop_table("outbox")
    op.drop_index("ix_items_queue", "items")
    op.drop_index("ix_items_done", "items")
    op.drop_index("ix_items_claim", "items")
    op.drop_index("ix_items_age", "items")
    op.drop_table("items")
    op.drop_table("inbox")
    op.drop_table("drift_batches")
