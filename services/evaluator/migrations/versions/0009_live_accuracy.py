"""Live accuracy, and monitors that go on after an alarm."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
LOSES = "the tallies of answers, what a rise is held against, and alarms that await labels"


def upgrade() -> None:
    op.create_table(
        "answered",
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arm", sa.String(length=16), nullable=False),
        sa.Column("adapter_id", sa.String(length=256), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.Column("predicted", sa.BigInteger(), nullable=False),
        sa.Column("squared", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("route", "day", "arm", "adapter_id"),
    )
    with op.batch_alter_table("monitors", schema=None) as batch_op:
        batch_op.add_column(sa.Column("began", sa.Float(), server_default="0", nullable=False))
        batch_op.add_column(
            sa.Column("unmatched", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.add_column(sa.Column("detectors", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("pending", sa.String(), nullable=True))

    with op.batch_alter_table("reviews", schema=None) as batch_op:
        batch_op.add_column(sa.Column("asked", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("reason", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("predicted", sa.Float(), nullable=True))
        batch_op.create_index("reviews_by_answer", ["route", "asked"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("reviews", schema=None) as batch_op:
        batch_op.drop_index("reviews_by_answer")
        batch_op.drop_column("predicted")
        batch_op.drop_column("reason")
        batch_op.drop_column("asked")

    with op.batch_alter_table("monitors", schema=None) as batch_op:
        batch_op.drop_column("pending")
        batch_op.drop_column("detectors")
        batch_op.drop_column("unmatched")
        batch_op.drop_column("began")

    op.drop_table("answered")
