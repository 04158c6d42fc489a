"""Keep what a promoted adapter fails in, and calibrations behind an adapter apart."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
LOSES = "in how many answers champions failed: they are counted from then on"


def upgrade() -> None:
    op.create_table(
        "trials",
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("adapter_id", sa.String(length=200), nullable=False),
        sa.Column("counted_to", sa.Float(precision=53), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("sums", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("route", "adapter_id"),
    )
    with op.batch_alter_table("calibrations") as batch_op:
        batch_op.add_column(sa.Column("behind", sa.String(64), nullable=True))
    op.create_index("outcomes_of_route", "outcomes", ["route", "at"])


def downgrade() -> None:
    op.drop_index("outcomes_of_route", "outcomes")
    op.execute("DELETE FROM calibrations WHERE behind IS NOT NULL")
    with op.batch_alter_table("calibrations") as batch_op:
        batch_op.drop_column("behind")
    op.drop_table("trials")
