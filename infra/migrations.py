"""Writes the next migration of each service whose tables are ahead of its migrations.

    python -m infra.migrations "what changes"

Alembic compares the tables that the code declares with those that the migrations make. Read what it
writes: it sees added and removed tables, columns and indexes, no renames and no data; and the last
release still writes to the new schema.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations.ops import DowngradeOps, MigrationScript, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, create_engine

from schemas.topics import SERVICES
from shared.service import Service
from shared.storage import BASE, Migrations

ROOT = Path(__file__).parents[1]
TEMPLATE = '''"""{message}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down_revision}
LOSES = "TODO: what a downgrade cannot give back"


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


def folder_of(service: str) -> Path:
    return ROOT / "services" / service.replace("-", "_") / "migrations"


def migrations_of(service: str) -> Migrations:
    return Migrations(folder_of(service))


async def built(service: str, folder: Path) -> Service[Any]:
    """Make a service that never runs; `folder` is for the files that it names."""
    package = f"services.{service.replace('-', '_')}"
    settings = importlib.import_module(f"{package}.settings").Settings
    values = {
        "database_url": f"sqlite+aiosqlite:///{folder}/{service}.db",
        "artifacts_url": f"file://{folder}",
        "keys_file": folder / "keys.json",
        "base_model": "base",
    }
    needed = {name: value for name, value in values.items() if name in settings.model_fields}
    made: Service[Any] = importlib.import_module(f"{package}.app").build(settings(**needed))
    await made.db.close()
    return made


async def metadata_of(service: str, folder: Path) -> MetaData:
    """Return the tables that a service's code declares."""
    return (await built(service, folder)).metadata


def difference(connection: Connection, metadata: MetaData) -> MigrationScript:
    return produce_migrations(
        MigrationContext.configure(connection, opts={"compare_type": True}), metadata
    )


def write_next(service: str, metadata: MetaData, message: str) -> Path | None:
    """Write the migration to the tables of `metadata`; return None where nothing changed."""
    migrations = migrations_of(service)
    last = migrations.head if migrations.revisions else BASE
    with create_engine("sqlite://").begin() as scratch:
        if last != BASE:
            migrations.run(scratch, last)
        found = difference(scratch, metadata)
    if not found.upgrade_ops or found.upgrade_ops.is_empty():
        return None
    revision = f"{len(migrations.revisions) + 1:04}"
    name = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:40]
    path = migrations.folder / "versions" / f"{revision}_{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = TEMPLATE.format(
        message=message,
        revision=revision,
        down_revision="None" if last == BASE else f'"{last}"',
        upgrade=code_of(found.upgrade_ops),
        downgrade=code_of(found.downgrade_ops),
    )
    path.write_text(text, "utf-8")
    lay_out(path)
    return path


def code_of(operations: UpgradeOps | DowngradeOps | None) -> str:
    """Render a function's body as Alembic does, in batches, which SQLite needs."""
    return render_python_code(operations, render_as_batch=True) if operations else "pass"


def lay_out(path: Path) -> None:
    """Format a file as the rest of the house is."""
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "--quiet", path], check=True)


async def main(message: str) -> None:
    with TemporaryDirectory() as folder:
        for service in SERVICES:
            if path := write_next(service, await metadata_of(service, Path(folder)), message):
                print(
                    f"wrote {path.relative_to(ROOT)}: read it, say what a downgrade loses, and give"
                    " new columns a server default"
                )


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('say what changes: make migration MESSAGE="Who works on a job"')
    asyncio.run(main(sys.argv[1]))
