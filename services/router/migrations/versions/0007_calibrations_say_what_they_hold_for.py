"""Calibrations say what they hold for: those without a digest are of older releases."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
LOSES = "what calibrations hold for: the router goes by their times again"


def upgrade() -> None:
    with op.batch_alter_table("calibrations") as batch_op:
        batch_op.add_column(sa.Column("holds_for", sa.String(64), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("calibrations") as batch_op:
        batch_op.drop_column("holds_for")
