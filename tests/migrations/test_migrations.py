"""Forward and back on SQLite and on Postgres: the tables are those of the code, rows survive, and
the last release goes on writing.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData, select

from infra.migrations import built, difference, folder_of, metadata_of, migrations_of, write_next
from schemas.topics import SERVICES
from shared.storage.db import Database
from shared.storage.migrations import BASE, Migrations, RevisionUnknown, SchemaUnknown, shape_of
from tests.migrations.databases import RELEASED, fill, rows, tables_at

every_service = pytest.mark.parametrize("service", SERVICES)
ONLY_IN = {"inbox": {"outcome": "handled"}, "outbox": {"log_partition": None, "log_offset": None}}


@every_service
async def test_the_migrations_make_the_tables_that_the_code_declares(
    service: str, db: Database, tmp_path: Path
) -> None:
    await migrations_of(service).upgrade(db)
    declared = await metadata_of(service, tmp_path)
    async with db.read() as connection:
        found = await connection.run_sync(difference, declared)
    assert found.upgrade_ops.is_empty(), f"run 'make migration': {found.upgrade_ops.as_diffs()}"


async def test_a_column_that_no_migration_makes_is_noticed(tmp_path: Path, db: Database) -> None:
    declared = await metadata_of("capture", tmp_path)
    declared.tables["inbox"].append_column(sa.Column("planted", sa.Integer))
    await migrations_of("capture").upgrade(db)
    async with db.read() as connection:
        found = await connection.run_sync(difference, declared)
    assert [step[0] for step in found.upgrade_ops.as_diffs()] == ["add_column"]


@every_service
async def test_rows_of_the_last_release_are_kept(service: str, db: Database) -> None:
    """A database that its service made itself: tables, rows, and no version."""
    migrations = migrations_of(service)
    before = await tables_at(service, db, RELEASED)
    async with db.transaction() as tx:
        await tx.run_sync(fill, before)
        expected = await tx.run_sync(rows, before)
        await tx.execute(sa.text("drop table alembic_version"))
    await migrations.upgrade(db)
    assert await migrations.revision(db) == migrations.head
    async with db.read() as connection:
        assert await connection.run_sync(rows, before) == expected
        for table, values in ONLY_IN.items():
            news = (
                (
                    await connection.execute(
                        select(*map(sa.column, values)).select_from(sa.table(table))
                    )
                )
                .mappings()
                .all()
            )
            assert [dict(row) for row in news] == [values, values]


@every_service
async def test_there_and_back_again(service: str, db: Database) -> None:
    migrations = migrations_of(service)
    before = await tables_at(service, db, RELEASED)
    await migrations.upgrade(db)
    async with db.transaction() as tx:
        head = await tx.run_sync(shape_of)
        await tx.run_sync(fill, before)
        expected = await tx.run_sync(rows, before)
    for revision in [*reversed(migrations.revisions), *migrations.revisions]:
        await migrations.move(db, revision)
        async with db.read() as connection:
            assert await connection.run_sync(rows, before) == expected, revision
    async with db.read() as connection:
        assert await connection.run_sync(shape_of) == head
    await migrations.move(db, BASE)
    async with db.read() as connection:
        assert await connection.run_sync(shape_of) == {}
    await migrations.upgrade(db)
    async with db.read() as connection:
        assert await connection.run_sync(shape_of) == head


@every_service
async def test_the_last_release_goes_on_writing_while_replicas_are_replaced(
    service: str, db: Database
) -> None:
    """N-1 beside N: each revision takes what the one before it writes, with all columns and with
    only those it must give.
    """
    migrations = migrations_of(service)
    for old, new in zip(migrations.revisions, migrations.revisions[1:], strict=False):
        writer = await tables_at(service, db, old)
        await migrations.move(db, new)
        async with db.transaction() as tx:
            await tx.run_sync(fill, writer, (1, 2), True)
            await tx.run_sync(fill, writer, (3,), False)
            await tx.run_sync(rows, writer)
            keys = await tx.run_sync(
                lambda connection, names: {
                    name: sa.inspect(connection).get_pk_constraint(name)["constrained_columns"]
                    for name in names
                },
                writer.tables,
            )
            assert keys == {
                name: [column.name for column in table.primary_key]
                for name, table in writer.tables.items()
            }, "upserts rely on the primary key"
            for table in writer.sorted_tables:
                await tx.execute(table.delete())


async def test_a_migration_that_breaks_the_last_release_is_noticed(db: Database) -> None:
    """The control of the test above: a column without a default."""
    writer = await tables_at("capture", db, RELEASED)
    async with db.transaction() as tx:
        await tx.execute(sa.text("drop table inbox"))
        await tx.execute(
            sa.text(
                "create table inbox (topic varchar, event_id varchar, received_at timestamp with"
                " time zone, outcome varchar not null)"
            )
        )
    with pytest.raises(sa.exc.IntegrityError):
        async with db.transaction() as tx:
            await tx.run_sync(fill, writer)


async def test_the_last_release_starts_on_a_newer_database(db: Database) -> None:
    migrations = migrations_of("capture")
    await migrations.upgrade(db)
    async with db.transaction() as tx:
        await tx.execute(sa.text("update alembic_version set version_num = '9999'"))
    await migrations.upgrade(db)
    assert await migrations.revision(db) == "9999"
    with pytest.raises(RevisionUnknown, match="9999"):
        await migrations.move(db, RELEASED)
    with pytest.raises(RevisionUnknown, match="0815"):
        await migrations.move(db, "0815")


@every_service
async def test_tables_that_the_code_of_today_made_are_recognised(
    service: str, db: Database, tmp_path: Path
) -> None:
    await db.create_tables(await metadata_of(service, tmp_path))
    await migrations_of(service).upgrade(db)
    assert await migrations_of(service).revision(db) == migrations_of(service).head


async def test_tables_that_no_release_made_are_refused(db: Database) -> None:
    strange = MetaData()
    sa.Table("inbox", strange, sa.Column("topic", sa.String, primary_key=True))
    await db.create_tables(strange)
    with pytest.raises(SchemaUnknown, match="capture database has tables of no released version"):
        await migrations_of("capture").upgrade(db)


@every_service
async def test_a_service_upgrades_its_database_when_it_starts(service: str, tmp_path: Path) -> None:
    made = await built(service, tmp_path)
    assert made.migrations == folder_of(service)
    await made.prepare_database()
    assert await migrations_of(service).revision(made.db) == migrations_of(service).head
    await made.db.close()


@every_service
def test_revisions_stand_on_their_own(service: str) -> None:
    """A revision that imports the models changes its meaning when they do."""
    from alembic.script import ScriptDirectory

    migrations = migrations_of(service)
    script = ScriptDirectory(str(folder_of(service)))
    assert script.get_heads() == [migrations.head]
    assert migrations.revisions == [
        f"{number:04}" for number in range(1, len(migrations.revisions) + 1)
    ]
    for revision in script.walk_revisions():
        assert "TODO" not in revision.module.LOSES, revision.path
        imported = {
            name.name
            for node in ast.walk(ast.parse(Path(revision.path).read_text("utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names
            )
        }
        assert imported <= {"sqlalchemy", "alembic", "__future__"}, revision.path


async def test_the_next_migration_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    monkeypatch.setattr("infra.migrations.ROOT", tmp_path)
    for columns in (
        (),
        (sa.Column("why", sa.String(40)),),
        (sa.Column("why", sa.String(40)), sa.Column("when", sa.Float, index=True)),
    ):
        metadata = MetaData()
        sa.Table("inbox", metadata, sa.Column("topic", sa.String(8), primary_key=True), *columns)
        assert write_next("capture", metadata, f"Inbox with {len(columns)}") is not None
        assert write_next("capture", metadata, "nothing new") is None
        migrations = Migrations(folder_of("capture"))
        await migrations.upgrade(db)
        async with db.read() as connection:
            assert (await connection.run_sync(difference, metadata)).upgrade_ops.is_empty()
    assert [path.name for path in sorted((folder_of("capture") / "versions").glob("*.py"))] == [
        "0001_inbox_with_0.py",
        "0002_inbox_with_1.py",
        "0003_inbox_with_2.py",
    ]
    await migrations.move(db, BASE)
