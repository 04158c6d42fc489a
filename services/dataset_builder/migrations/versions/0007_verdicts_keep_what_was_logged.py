"""verdicts keep what was logged."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
LOSES = (
    "what was asked when, the model's answer, arm, adapter, probability and coin of each verdict"
)


def upgrade() -> None:
    with op.batch_alter_table("builds") as batch_op:
        batch_op.add_column(sa.Column("lost_labels", sa.String(), nullable=True))

    with op.batch_alter_table("verdicts") as batch_op:
        batch_op.add_column(sa.Column("asked_us", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("session", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("guideline", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("model_answer", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("arm", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("adapter_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("probability", sa.Float(precision=53), nullable=True))
        batch_op.add_column(sa.Column("coin", sa.Float(precision=53), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("verdicts") as batch_op:
        batch_op.drop_column("coin")
        batch_op.drop_column("probability")
        batch_op.drop_column("adapter_id")
        batch_op.drop_column("arm")
        batch_op.drop_column("model_answer")
        batch_op.drop_column("guideline")
        batch_op.drop_column("session")
        batch_op.drop_column("asked_us")

    with op.batch_alter_table("builds") as batch_op:
        batch_op.drop_column("lost_labels")
