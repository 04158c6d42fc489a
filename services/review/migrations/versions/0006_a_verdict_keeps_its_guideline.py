"""A verdict keeps the guideline that it was given by."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
LOSES = "by which guideline each verdict was given, where it is said again"


def upgrade() -> None:
    with op.batch_alter_table("items") as batch_op:
        batch_op.add_column(sa.Column("guideline", sa.String(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("items") as batch_op:
        batch_op.drop_column("guideline")
