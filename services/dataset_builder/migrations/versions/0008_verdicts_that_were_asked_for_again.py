"""Verdicts that no majority settles are asked for once more, and never twice."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
LOSES = "which verdicts were asked for once more: after the next upgrade they are asked for again"


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("inference_id", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("route", "inference_id"),
    )


def downgrade() -> None:
    op.drop_table("requests")
