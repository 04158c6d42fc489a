"""A rejection counts under the labels of its time, so it is known when those changed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
LOSES = "when a route's labels last changed: rejections from before count again"


def upgrade() -> None:
    op.add_column("builds", sa.Column("meaning_us", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("builds", "meaning_us")
