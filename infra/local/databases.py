"""One database per service: a SQLite file in the home folder, or one on a given Postgres."""

from __future__ import annotations

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from infra.local.home import Home
from schemas.topics import SERVICES
from shared.errors import RatchetError


class DatabaseUrlWrong(RatchetError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"RATCHET_DATABASE_URL {reason}; it looks like"
            " postgresql+asyncpg://user:password@host:5432"
        )


class PostgresAway(RatchetError):
    def __init__(self, where: str, cause: BaseException) -> None:
        super().__init__(
            f"Postgres at {where} did not let us in ({type(cause).__name__}: {cause}): check"
            " RATCHET_DATABASE_URL and that it runs"
        )


def database_urls(home: Home, server: str | None) -> dict[str, str]:
    """Return the databases' URLs by service.

    `server` is RATCHET_DATABASE_URL, whose path, if any, begins their names (else `ratchet`).
    """
    if not server:
        return {service: f"sqlite+aiosqlite:///{home.path}/{service}.db" for service in SERVICES}
    try:
        url = make_url(server)
    except ArgumentError as error:
        raise DatabaseUrlWrong("is not a URL") from error
    if url.drivername != "postgresql+asyncpg":
        raise DatabaseUrlWrong(f"begins with {url.drivername}://")
    names = {
        service: f"{url.database or 'ratchet'}_{service.replace('-', '_')}" for service in SERVICES
    }
    return {
        service: url.set(database=name).render_as_string(hide_password=False)
        for service, name in names.items()
    }


async def create_missing_databases(urls: dict[str, str]) -> None:
    """Make what is missing on Postgres; SQLite makes its files itself, services their tables."""
    if any(url.startswith("sqlite") for url in urls.values()):
        return
    first = make_url(next(iter(urls.values())))
    try:
        connection = await asyncpg.connect(
            host=first.host,
            port=first.port or 5432,
            user=first.username,
            password=first.password,
            database="postgres",
            timeout=10,
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise PostgresAway(f"{first.host}:{first.port or 5432}", error) from error
    try:
        there = {
            row["datname"] for row in await connection.fetch("select datname from pg_database")
        }
        for name in (make_url(url).database for url in urls.values()):
            if name not in there:
                await connection.execute(f'create database "{name}"')
    finally:
        await connection.close()
