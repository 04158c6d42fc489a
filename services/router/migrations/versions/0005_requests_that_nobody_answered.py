"""Requests that nobody answered count for the adapter that had them, and have no event."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
LOSES = "requests that nobody answered: they counted against the adapters that had them"


def upgrade() -> None:
    with op.batch_alter_table("decisions") as batch_op:
        batch_op.alter_column("event", existing_type=sa.String(), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM decisions WHERE event IS NULL")
    with op.batch_alter_table("decisions") as batch_op:
        batch_op.alter_column("event", existing_type=sa.String(), nullable=False)
