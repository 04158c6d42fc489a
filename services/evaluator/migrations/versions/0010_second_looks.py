"""What two people said of one answer, and which of two answers they found better."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
LOSES = (
    "how many wrong answers reviewers let pass, and what was judged of answers to free-text routes"
)


def upgrade() -> None:
    op.create_table(
        "judgements",
        sa.Column("comparison_id", sa.String(64), nullable=False),
        sa.Column("judge", sa.String(8), nullable=False),
        sa.Column("judgement", sa.String(16), nullable=False),
        sa.Column("given_by", sa.String(256), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("comparison_id", "judge"),
    )
    op.create_table(
        "looks",
        sa.Column("review_id", sa.String(64), nullable=False),
        sa.Column("inference_id", sa.String(256), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("reviewer", sa.String(128), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("answer", sa.String(32)),
        sa.Column("is_second", sa.Integer(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("review_id"),
    )
    with op.batch_alter_table("looks") as batch_op:
        batch_op.create_index("ix_looks_inference", ["inference_id"])
        batch_op.create_index("ix_looks_pairs", ["route", "is_second", "at"])

    op.create_table(
        "pairings",
        sa.Column("comparison_id", sa.String(64), nullable=False),
        sa.Column("evaluation_id", sa.String(64), nullable=False),
        sa.Column("row_id", sa.String(256), nullable=False),
        sa.Column("against", sa.String(16), nullable=False),
        sa.Column("challenger", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("comparison_id"),
    )
    with op.batch_alter_table("pairings") as batch_op:
        batch_op.create_index("ix_pairings_evaluation_id", ["evaluation_id"])


def downgrade() -> None:
    with op.batch_alter_table("pairings") as batch_op:
        batch_op.drop_index("ix_pairings_evaluation_id")

    op.drop_table("pairings")
    with op.batch_alter_table("looks") as batch_op:
        batch_op.drop_index("ix_looks_pairs")
        batch_op.drop_index("ix_looks_inference")

    op.drop_table("looks")
    op.drop_table("judgements")
