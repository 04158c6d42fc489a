"""Which evaluations are over, so that nobody is asked about them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
LOSES = "which evaluations are over: their pairs may be shown again"


def upgrade() -> None:
    op.create_table(
        "concluded",
        sa.Column("evaluation_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("evaluation_id"),
    )


def downgrade() -> None:
    op.drop_table("concluded")
