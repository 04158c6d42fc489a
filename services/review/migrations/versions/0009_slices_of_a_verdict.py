"""An answer keeps its metadata, and a verdict which slices of its route it belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
LOSES = "which slices of their routes the answers belong to that are open or decided"


def upgrade() -> None:
    op.add_column("items", sa.Column("metadata", sa.String()))
    op.add_column("items", sa.Column("slices", sa.String()))


def downgrade() -> None:
    op.drop_column("items", "slices")
    op.drop_column("items", "metadata")
