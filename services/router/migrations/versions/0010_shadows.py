"""Keep of two answers to one question which is right."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
LOSES = "what was asked beside given answers: it is asked anew"


def upgrade() -> None:
    op.create_table(
        "shadows",
        sa.Column("inference_id", sa.String(length=64), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("new", sa.String(length=200), nullable=False),
        sa.Column("old", sa.String(length=200), nullable=False),
        sa.Column("new_answer", sa.String(length=64), nullable=False),
        sa.Column("old_answer", sa.String(length=64), nullable=False),
        sa.Column("new_right", sa.Boolean(), nullable=True),
        sa.Column("old_right", sa.Boolean(), nullable=True),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("inference_id"),
    )
    op.create_index("shadows_of_route", "shadows", ["route", "new", "at"])


def downgrade() -> None:
    op.drop_table("shadows")
