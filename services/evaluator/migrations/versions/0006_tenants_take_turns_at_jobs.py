"""Tenants take turns at jobs: a job knows its tenant, and a tenant when it was last served."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
LOSES = "whose turn it is: the last release takes the oldest job of all tenants"


def upgrade() -> None:
    op.create_table(
        "job_turns",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("served_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "tenant"),
    )
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(sa.Column("tenant", sa.String(64), nullable=False, server_default=""))
        batch_op.create_index("ix_jobs_turn", ["kind", "state", "tenant", "queued_at"])
    # What stands before the only "/" of a route, in words that both databases know.
    op.execute("update jobs set tenant = rtrim(rtrim(route, replace(route, '/', '')), '/')")


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_turn")
        batch_op.drop_column("tenant")
    op.drop_table("job_turns")
