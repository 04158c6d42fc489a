"""Dead letters in a table of their own, and consumers that a failing release has paused."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
LOSES = "dead letters older than OUTBOX_KEEP_HOURS: they stay on the DLQ topic alone"


def upgrade() -> None:
    op.create_table(
        "consumer_pauses",
        sa.Column("topic", sa.String(128), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("because", sa.String(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("topic"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("topic", sa.String(128), nullable=False),
        sa.Column("event_id", sa.String(128), nullable=False),
        sa.Column("key", sa.LargeBinary()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("body_is_kept", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("headers", sa.String(), nullable=False),
        sa.Column("log_partition", sa.Integer()),
        sa.Column("log_offset", sa.BigInteger()),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("error_type", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("dead_letters_event", "dead_letters", ["topic", "event_id"])
    # Only the place of the last release's letters is known here; the service fills in what its
    # outbox still has of them as soon as it runs.
    op.execute(
        "insert into dead_letters (topic, event_id, body_is_kept, headers, log_partition,"
        " log_offset, cause, error_type, error, attempts, failed_at)"
        " select topic, event_id, false, '{}', log_partition, log_offset, 'unreadable', 'unknown',"
        " 'its body is on the DLQ topic alone', 1, received_at"
        " from inbox where outcome = 'dead-lettered'"
    )


def downgrade() -> None:
    op.drop_index("dead_letters_event", "dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("consumer_pauses")
