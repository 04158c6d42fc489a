"""The tables of the first release, which its services made themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
LOSES = "every row"


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("topic", sa.String(128), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "event_id"),
    )
    op.create_table(
        "ledger",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("public_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_ledger_public_id", "ledger", ["public_id"])
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


def downgrade() -> None:
    op.drop_table("routes")
    op.drop_index("ix_outbox_sent_at", "outbox")
    op.drop_table("outbox")
    op.drop_index("ix_ledger_public_id", "ledger")
    op.drop_table("ledger")
    op.drop_table("inbox")
