"""Let the processes of a router share what a challenger waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
LOSES = "nothing: what a challenger waits for is told anew"


def upgrade() -> None:
    op.create_table(
        "canary_waiting",
        sa.Column("process", sa.String(length=64), nullable=False),
        sa.Column("adapter_id", sa.String(length=200), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("process", "adapter_id"),
    )


def downgrade() -> None:
    op.drop_table("canary_waiting")
