"""What the log refuses is parked, and every statement of housekeeping has an index."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
LOSES = "which events are parked: the last release tries them again, and waits for them"


def upgrade() -> None:
    with op.batch_alter_table("dead_letters") as batch_op:
        batch_op.create_index("dead_letters_failed", ["failed_at"])

    with op.batch_alter_table("inbox") as batch_op:
        batch_op.create_index(
            "inbox_received",
            ["received_at"],
            sqlite_where=sa.text("outcome = 'handled'"),
            postgresql_where=sa.text("outcome = 'handled'"),
        )

    with op.batch_alter_table("outbox") as batch_op:
        batch_op.add_column(sa.Column("parked_at", sa.DateTime(timezone=True)))
        batch_op.add_column(sa.Column("parked_because", sa.String()))
        batch_op.drop_index("outbox_unsent")
        batch_op.create_index(
            "outbox_parked",
            ["seq"],
            sqlite_where=sa.text("parked_at IS NOT NULL"),
            postgresql_where=sa.text("parked_at IS NOT NULL"),
        )
        batch_op.create_index(
            "outbox_sent",
            ["sent_at"],
            sqlite_where=sa.text("sent_at IS NOT NULL"),
            postgresql_where=sa.text("sent_at IS NOT NULL"),
        )
        batch_op.create_index(
            "outbox_waiting",
            ["aggregatetype", "seq"],
            sqlite_where=sa.text("sent_at IS NULL AND parked_at IS NULL"),
            postgresql_where=sa.text("sent_at IS NULL AND parked_at IS NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("outbox") as batch_op:
        batch_op.drop_index(
            "outbox_waiting",
            sqlite_where=sa.text("sent_at IS NULL AND parked_at IS NULL"),
            postgresql_where=sa.text("sent_at IS NULL AND parked_at IS NULL"),
        )
        batch_op.drop_index(
            "outbox_sent",
            sqlite_where=sa.text("sent_at IS NOT NULL"),
            postgresql_where=sa.text("sent_at IS NOT NULL"),
        )
        batch_op.drop_index(
            "outbox_parked",
            sqlite_where=sa.text("parked_at IS NOT NULL"),
            postgresql_where=sa.text("parked_at IS NOT NULL"),
        )
        batch_op.create_index(
            "outbox_unsent",
            ["seq"],
            sqlite_where=sa.text("sent_at IS NULL"),
            postgresql_where=sa.text("sent_at IS NULL"),
        )
        batch_op.drop_column("parked_because")
        batch_op.drop_column("parked_at")

    with op.batch_alter_table("inbox") as batch_op:
        batch_op.drop_index(
            "inbox_received",
            sqlite_where=sa.text("outcome = 'handled'"),
            postgresql_where=sa.text("outcome = 'handled'"),
        )

    with op.batch_alter_table("dead_letters") as batch_op:
        batch_op.drop_index("dead_letters_failed")
