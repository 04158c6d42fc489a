"""Items that come to reviewers again say what they disagreed about."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
LOSES = "what reviewers disagreed about: such items are shown with the reason that they had first"


def upgrade() -> None:
    with op.batch_alter_table("items") as batch_op:
        batch_op.add_column(sa.Column("disagreement", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("contested", sa.String(128), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("items") as batch_op:
        batch_op.drop_column("contested")
        batch_op.drop_column("disagreement")
