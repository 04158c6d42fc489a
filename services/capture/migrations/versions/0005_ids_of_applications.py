"""Ids are unique per application and route, and known with a digest of their content."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
LOSES = (
    "under which content an id was taken; the last release looks for ids under other keys, so that"
    " what was stored since and is sent again is stored again"
)


def upgrade() -> None:
    with op.batch_alter_table("ledger") as batch_op:
        batch_op.add_column(sa.Column("content", sa.String(32)))
        batch_op.create_index(
            "ledger_old",
            ["key"],
            sqlite_where=sa.text("content IS NULL"),
            postgresql_where=sa.text("content IS NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("ledger") as batch_op:
        batch_op.drop_index(
            "ledger_old",
            sqlite_where=sa.text("content IS NULL"),
            postgresql_where=sa.text("content IS NULL"),
        )
        batch_op.drop_column("content")
