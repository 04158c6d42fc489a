"""Brings a service's database to the schema its code expects: Alembic's migrations, run through the
service's own engine.

Revisions are numbered files, `<service>/migrations/versions/NNNN_what_it_does.py`, one after the
other without branches. All steps of one move commit together or not at all. Alembic is imported
only when there is something to do (docs/decisions/0010-migrations.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from shared.errors import RatchetError, Retryable
from shared.storage.db import Database
from shared.telemetry import log

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import ScriptDirectory

BASE = "base"  # Alembic's name for an empty database
WAIT_SECONDS = 300.0  # for another replica's migration, or for those who use the tables
Shape = dict[str, tuple[frozenset[str], frozenset[str]]]


class SchemaUnknown(RatchetError):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"the {folder.parent.name} database has tables of no released version: start with an"
            " empty one, or upgrade it with the code that made it"
        )


class RevisionUnknown(RatchetError):
    def __init__(self, revision: str, known: list[str]) -> None:
        super().__init__(
            f"this code knows no revision '{revision}', only {', '.join([BASE, *known])}; a newer"
            " one is taken back by the release that brought it"
        )


class TablesBusy(Retryable):
    def __init__(self) -> None:
        super().__init__(
            "a table was in use, and a migration may not hold up others by waiting for it: end long"
            " transactions, or try again"
        )


class Migrations:
    """The revisions in one service's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.revisions = sorted(
            path.name[:4] for path in (folder / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")
        )

    @property
    def head(self) -> str:
        return self.revisions[-1]

    async def revision(self, db: Database) -> str | None:
        """Return the database's revision: None when it is empty, or older than migrations."""
        try:
            async with db.read() as connection:
                return (
                    await connection.execute(text("select version_num from alembic_version"))
                ).scalar()
        except DBAPIError:
            return None  # no such table

    async def upgrade(self, db: Database) -> None:
        """Bring the database to the newest revision, at the start of a service.

        Several replicas may start at once: one migrates, the others wait and find it done.
        """
        found = await self.revision(db)
        if found == self.head:
            return
        # this is the release before: the next one's schema is made so that it can go on
        if found and found > self.head:
            log("migrations").warning(
                "the database is newer than this code", database=found, code=self.head
            )
            return
        deadline = time.monotonic() + WAIT_SECONDS
        while (trouble := await self._try(db, self.head)) and time.monotonic() < deadline:
            log("migrations").warning("waits for others who use the database", error=str(trouble))
            await asyncio.sleep(0.5)
        if trouble:
            raise trouble

    async def move(self, db: Database, to: str) -> None:
        """Up or down to a revision."""
        if to not in (BASE, *self.revisions):
            raise RevisionUnknown(to, self.revisions)
        try:
            async with db.transaction(wake=False) as tx:
                await db.dialect.lock_for_migration(tx)
                await tx.run_sync(self.run, to)
        except DBAPIError as error:
            if not db.dialect.waited_too_long(error):
                raise
            raise TablesBusy from error

    async def _try(self, db: Database, to: str) -> Retryable | None:
        began = time.monotonic()
        try:
            await self.move(db, to)
        except Retryable as error:
            return error
        log("migrations").info("migrated", to=to, seconds=round(time.monotonic() - began, 3))
        return None

    def run(self, connection: Connection, to: str) -> None:
        """Move to a revision within the transaction that `connection` is in."""
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it announces its plugins
        from alembic.operations import Operations
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        script = ScriptDirectory(str(self.folder))
        context = MigrationContext.configure(
            connection,
            opts={"fn": lambda heads, _: self._steps(script, heads[0] if heads else BASE, to)},
        )
        self._recognise(script, context, connection)
        with Operations.context(context):
            context.run_migrations()

    def _steps(self, script: ScriptDirectory, found: str, to: str) -> Iterator[RevisionStep]:
        from alembic.runtime.migration import MigrationStep

        if found not in (BASE, *self.revisions):
            raise RevisionUnknown(found, self.revisions)
        order = [BASE, *self.revisions]
        if order.index(to) >= order.index(found):
            for revision in reversed(list(script.iterate_revisions(to, found))):
                yield MigrationStep.upgrade_from_script(script.revision_map, revision)
        else:
            for revision in list(script.iterate_revisions(found, to)):
                yield MigrationStep.downgrade_from_script(script.revision_map, revision)

    def _recognise(
        self, script: ScriptDirectory, context: MigrationContext, connection: Connection
    ) -> None:
        """Tables without a version were made before there were migrations: they are told by their
        columns and indexes.
        """
        if context.get_current_revision() or not inspect(connection).has_table("inbox"):
            return
        found = shape_of(connection)
        for revision in reversed(self.revisions):
            with create_engine("sqlite://").begin() as scratch:
                self.run(scratch, revision)
                if shape_of(scratch).items() <= found.items():
                    context.stamp(script, revision)
                    log("migrations").info(
                        "recognised a database from before there were migrations", revision=revision
                    )
                    return
        raise SchemaUnknown(self.folder)


def shape_of(connection: Connection) -> Shape:
    """Return each table's columns and indexes, by name."""
    inspector = inspect(connection)
    shape = {}
    for table in inspector.get_table_names():
        indexes = (
            index["name"]
            for index in inspector.get_indexes(table)
            if "duplicates_constraint" not in index
        )
        shape[table] = (
            frozenset(column["name"] for column in inspector.get_columns(table)),
            frozenset(filter(None, indexes)),
        )
    shape.pop("alembic_version", None)
    return shape
