"""Which adapters for free text people are asked about."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
LOSES = "what people are asked about at the time: those adapters are never judged"


def upgrade() -> None:
    op.create_table(
        "contests",
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("evaluation_id", sa.String(length=64), nullable=False),
        sa.Column("contest", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )
    op.create_table(
        "waiting_adapters",
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("evaluation_id", sa.String(length=64), nullable=False),
        sa.Column("waiting", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("route"),
    )


def downgrade() -> None:
    op.drop_table("waiting_adapters")
    op.drop_table("contests")
