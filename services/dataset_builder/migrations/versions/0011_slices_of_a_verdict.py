"""A verdict keeps which slices of its route it belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
LOSES = "which slices each verdict belongs to: adapters are not compared on slices"


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("slices", sa.String()))


def downgrade() -> None:
    op.drop_column("verdicts", "slices")
