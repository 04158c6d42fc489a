"""Labels bear drift out, and brakes hold datasets back."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
LOSES = "which drifts labels bore out, and which brake was said to hold: both come again"


def upgrade() -> None:
    with op.batch_alter_table("builds", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("confirmed", sa.Boolean(), server_default=sa.true(), nullable=False)
        )
        batch_op.add_column(sa.Column("held", sa.String(length=32), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("builds", schema=None) as batch_op:
        batch_op.drop_column("held")
        batch_op.drop_column("confirmed")
