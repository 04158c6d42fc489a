"""Where events stand in the log, what became of them, and whose turn it is to publish."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
LOSES = (
    "which events are dead letters, and where events stand in the log: what it loses is not sent"
    " again"
)


def upgrade() -> None:
    op.create_table(
        "relay_lease",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("lease_until", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("inbox") as batch_op:
        batch_op.add_column(
            sa.Column("outcome", sa.String(16), nullable=False, server_default="handled")
        )
        batch_op.add_column(sa.Column("log_partition", sa.Integer()))
        batch_op.add_column(sa.Column("log_offset", sa.BigInteger()))
        batch_op.create_index("inbox_place", ["topic", "log_partition", "log_offset"])
    with op.batch_alter_table("outbox") as batch_op:
        batch_op.add_column(sa.Column("log_partition", sa.Integer()))
        batch_op.add_column(sa.Column("log_offset", sa.BigInteger()))
        batch_op.drop_index("ix_outbox_sent_at")
        batch_op.create_index(
            "outbox_place",
            ["aggregatetype", "log_partition", "log_offset"],
            sqlite_where=sa.text("sent_at IS NOT NULL"),
            postgresql_where=sa.text("sent_at IS NOT NULL"),
        )
        batch_op.create_index(
            "outbox_unsent",
            ["seq"],
            sqlite_where=sa.text("sent_at IS NULL"),
            postgresql_where=sa.text("sent_at IS NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("outbox") as batch_op:
        batch_op.drop_index(
            "outbox_unsent",
            sqlite_where=sa.text("sent_at IS NULL"),
            postgresql_where=sa.text("sent_at IS NULL"),
        )
        batch_op.drop_index(
            "outbox_place",
            sqlite_where=sa.text("sent_at IS NOT NULL"),
            postgresql_where=sa.text("sent_at IS NOT NULL"),
        )
        batch_op.create_index("ix_outbox_sent_at", ["sent_at"])
        batch_op.drop_column("log_offset")
        batch_op.drop_column("log_partition")
    with op.batch_alter_table("inbox") as batch_op:
        batch_op.drop_index("inbox_place")
        batch_op.drop_column("log_offset")
        batch_op.drop_column("log_partition")
        batch_op.drop_column("outcome")
    op.drop_table("relay_lease")
