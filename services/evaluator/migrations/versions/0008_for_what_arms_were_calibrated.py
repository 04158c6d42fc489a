"""For what arms were calibrated."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
LOSES = "for what arms were calibrated: what serves is calibrated once more after an upgrade"


def upgrade() -> None:
    op.create_table(
        "populations",
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("holds_for", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("route", "holds_for"),
    )


def downgrade() -> None:
    op.drop_table("populations")
