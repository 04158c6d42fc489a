"""Skipped items come back, a second person checks the first, budgets by day, answers to compare."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
LOSES = (
    "what second people have decided or have still to decide, who skipped what, what was taken of"
    " today's budgets, and the answers that are to be compared"
)


def upgrade() -> None:
    op.create_table(
        "budgets",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("route", "day"),
    )
    op.create_table(
        "comparisons",
        sa.Column("comparison_id", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("evaluation_id", sa.String(64), nullable=False),
        sa.Column("asked", sa.LargeBinary(), nullable=False),
        sa.Column("queued_at", sa.Float(), nullable=False),
        sa.Column("claimed_by", sa.String(64)),
        sa.Column("claimed_at", sa.Float(), nullable=False),
        sa.Column("claimed_until", sa.Float(), nullable=False),
        sa.Column("judgement", sa.String(16)),
        sa.Column("reviewer", sa.String(128)),
        sa.Column("done_at", sa.Float()),
        sa.PrimaryKeyConstraint("comparison_id"),
    )
    with op.batch_alter_table("comparisons") as batch_op:
        batch_op.create_index("ix_comparisons_queue", ["tenant", "judgement", "queued_at"])
        batch_op.create_index("ix_comparisons_age", ["queued_at"])

    op.create_table(
        "skips",
        sa.Column("item_id", sa.String(64), nullable=False),
        sa.Column("reviewer", sa.String(128), nullable=False),
        sa.Column("back_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "reviewer"),
    )
    with op.batch_alter_table("items") as batch_op:
        batch_op.add_column(sa.Column("second_of", sa.String(64)))
        batch_op.add_column(sa.Column("not_for", sa.String(128)))
        batch_op.add_column(sa.Column("about", sa.String(256)))
        batch_op.add_column(sa.Column("provisional_on", sa.String(10)))
    # An hour from when it was asked again, as a skip from now on.
    op.execute(
        "insert into skips (item_id, reviewer, back_at) select item_id, contested,"
        " queued_at + 3600 from items where contested is not null and state = 'open'"
    )
    # What had been skipped stood behind everything, for ever.
    op.execute("update items set rank = 2 where rank = 3")


def downgrade() -> None:
    op.execute("delete from items where second_of is not null")
    with op.batch_alter_table("items") as batch_op:
        batch_op.drop_column("provisional_on")
        batch_op.drop_column("about")
        batch_op.drop_column("not_for")
        batch_op.drop_column("second_of")

    op.drop_table("skips")
    with op.batch_alter_table("comparisons") as batch_op:
        batch_op.drop_index("ix_comparisons_age")
        batch_op.drop_index("ix_comparisons_queue")

    op.drop_table("comparisons")
    op.drop_table("budgets")
