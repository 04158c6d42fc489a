"""Each attempt at a job is kept, with the way it ended; a job knows its route, its failures and its
lives.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
LOSES = "the history of jobs, and which of them an operator cancelled or gave another life"
SECONDS = "(julianday({}) - 2440587.5) * 86400.0"


def upgrade() -> None:
    op.create_table(
        "job_history",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("life", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer()),
        sa.Column("token", sa.Integer()),
        sa.Column("worker", sa.String(300)),
        sa.Column("began_at", sa.Float()),
        sa.Column("ended_at", sa.Float()),
        sa.Column("outcome", sa.String(16)),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("ix_job_history_job_id", "job_history", ["job_id"])
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.add_column(sa.Column("route", sa.String(200), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("life", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("worker", sa.String(300)))
        batch_op.add_column(sa.Column("queued_at", sa.Float(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("renewed_at", sa.Float(), nullable=False, server_default="0"))
        batch_op.create_index("ix_jobs_route", ["route"])
    if op.get_context().dialect.name == "sqlite":
        route = "json_extract(payload, '$.route')"
        began = SECONDS.format("created_at")
        renewed = SECONDS.format("updated_at")
    else:
        route = "payload ->> 'route'"
        began = "extract(epoch from created_at)"
        renewed = "extract(epoch from updated_at)"
    op.execute(
        f"update jobs set route = coalesce({route}, ''), queued_at = {began}, renewed_at ="  # noqa: S608
        f" {renewed}"
    )


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch_op:
        batch_op.drop_index("ix_jobs_route")
        batch_op.drop_column("renewed_at")
        batch_op.drop_column("queued_at")
        batch_op.drop_column("worker")
        batch_op.drop_column("life")
        batch_op.drop_column("deaths")
        batch_op.drop_column("failures")
        batch_op.drop_column("route")
    op.drop_index("ix_job_history_job_id", "job_history")
    op.drop_table("job_history")
