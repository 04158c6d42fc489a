"""Which requests were answered under a key of their app: a repeat gets the same answer."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
LOSES = "which requests were answered under an Idempotency-Key: a repeat is a new question"


def upgrade() -> None:
    op.create_table(
        "repeats",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("inference_id", sa.String(64), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("finish_reason", sa.String(64), nullable=False),
        sa.Column("tool", sa.String(64)),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_repeats_at", "repeats", ["at"])


def downgrade() -> None:
    op.drop_index("ix_repeats_at", "repeats")
    op.drop_table("repeats")
