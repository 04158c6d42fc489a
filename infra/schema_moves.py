"""Says at which revision each service's database is, and moves it up or down (`ratchet db`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, inspect, select
from sqlalchemy.engine import make_url

from infra.migrations import migrations_of
from shared.errors import RatchetError
from shared.events import lease_table
from shared.storage import BASE, Database, DatabaseUnavailable, RevisionUnknown

NOT_THERE = "not there"
EMPTY = "empty"
CURRENT = "current"
BEHIND = "behind"
NEWER = "newer"
BEFORE = "before migrations"
AWAY = "away"


class InUse(RatchetError):
    def __init__(self, service: str, who: str) -> None:
        super().__init__(
            f"{service} runs ({who}): stop it first, it would work on tables that are gone"
        )


class WrongWay(RatchetError):
    def __init__(self, service: str, found: str, to: str, way: str) -> None:
        super().__init__(
            f"the {service} database is at {found}, and {to} is not {way} it: 'ratchet db status'"
            " shows where each is"
        )


@dataclass(frozen=True)
class Standing:
    """`revision` is what the database says of itself, `head` what this code expects."""

    service: str
    database: str
    revision: str | None
    head: str
    state: str


async def standing(service: str, url: str) -> Standing:
    migrations = migrations_of(service)
    shown = make_url(url).render_as_string(hide_password=True)
    if not is_there(url):
        return Standing(service, shown, None, migrations.head, NOT_THERE)
    db = Database(url)
    try:
        revision = await migrations.revision(db)
        state = _state(revision, migrations.head) if revision else await _without_revision(db)
    except DatabaseUnavailable:
        revision = None
        state = AWAY
    finally:
        await db.close()
    return Standing(service, shown, revision, migrations.head, state)


def is_there(url: str) -> bool:
    """Say whether there is a database, without opening it: opening a SQLite file makes it."""
    parsed = make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(parsed.database or "").exists()


def _state(revision: str, head: str) -> str:
    return CURRENT if revision == head else BEHIND if revision < head else NEWER


async def _without_revision(db: Database) -> str:
    async with db.read() as connection:
        return (
            BEFORE
            if await connection.run_sync(lambda sync: inspect(sync).has_table("inbox"))
            else EMPTY
        )


async def upgrade(service: str, url: str, to: str | None) -> Standing:
    """Move up to `to`, else to the newest; the last release may run on with the new schema."""
    migrations = migrations_of(service)
    db = Database(url)
    try:
        if to and to <= (found := await migrations.revision(db) or ""):
            raise WrongWay(service, found, to, "above")
        await (migrations.move(db, to) if to else migrations.upgrade(db))
    finally:
        await db.close()
    return await standing(service, url)


async def losses(service: str, url: str, to: str) -> list[str]:
    """Say what a move down to `to` cannot give back, newest revision first.

    Raises where that is no move down, and while the service runs.
    """
    migrations = migrations_of(service)
    db = Database(url)
    try:
        found = (await migrations.revision(db) if is_there(url) else None) or BASE
        for unknown in {to, found} - {BASE, *migrations.revisions}:
            raise RevisionUnknown(unknown, migrations.revisions)
        if found == BASE or (to != BASE and to >= found):
            raise WrongWay(service, found, to, "below")
        if who := await _owner(db):
            raise InUse(service, who)
    finally:
        await db.close()
    script = ScriptDirectory(str(migrations.folder))
    return [
        f"{revision.revision}: {revision.module.LOSES}"
        for revision in script.iterate_revisions(found, to)
    ]


async def downgrade(service: str, url: str, to: str) -> None:
    db = Database(url)
    try:
        await migrations_of(service).move(db, to)
    finally:
        await db.close()


async def _owner(db: Database) -> str | None:
    """Return who runs: a service holds its relay's lease, a killed one for at most 10 s."""
    lease = lease_table(MetaData())
    async with db.read() as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table(lease.name)):
            return None
        holder = select(lease.c.owner).where(lease.c.lease_until > db.clock())
        owner: str | None = (await connection.execute(holder)).scalar()
        return owner
