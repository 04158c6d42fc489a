"""The database of one service: SQLite or Postgres behind one SQLAlchemy async URL."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    DateTime,
    Float,
    Insert,
    MetaData,
    Table,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import failpoints
from shared.errors import Retryable
from shared.storage.dialect import Dialect
from shared.storage.postgres import Postgres
from shared.storage.sqlite import Sqlite

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (Sqlite(), Postgres())}


class DatabaseUnavailable(Retryable):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"the database did not answer ({type(cause).__name__}); the request was not stored,"
            " send it again"
        )


class Database:
    """Transactions over one database.

    `committed` is set after each commit, so that the relay wakes at once.
    """

    def __init__(self, url: str) -> None:
        self.dialect = DIALECTS[make_url(url).get_backend_name()]
        self.engine = self.dialect.make_engine(url)
        self.committed = asyncio.Event()
        self._writer = self.dialect.writer()

    @property
    def url(self) -> str:
        """Return the URL with its password, to open the same database once more; never log it."""
        return self.engine.url.render_as_string(hide_password=False)

    @property
    def is_sqlite(self) -> bool:
        return self.dialect.name == "sqlite"

    async def create_tables(self, metadata: MetaData) -> None:
        async with self.transaction() as tx:
            await tx.run_sync(metadata.create_all)

    @asynccontextmanager
    async def transaction(self, wake: bool = True) -> AsyncIterator[AsyncConnection]:
        """Open one atomic unit of work: it commits on exit and rolls back on any error.

        `wake`: the relay looks whether there is something to send. Raises DatabaseUnavailable where
        the same transaction may succeed later.
        """
        async with self._writer:
            with self._translating_errors():
                async with self._connected() as connection, connection.begin():
                    yield connection
                    failpoints.reach("commit.before")
        failpoints.reach("commit.after")
        if wake:
            self.committed.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a snapshot to read from; it takes no write lock on SQLite."""
        with self._translating_errors():
            async with self._connected() as connection:
                yield await connection.execution_options(read_only=True)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        connection = self.engine.connect()
        try:
            await connection.start()
        # OSError is the driver's own: nothing listens there.
        except (OSError, DBAPIError, PoolExhausted) as error:
            raise DatabaseUnavailable(error) from error
        try:
            yield connection
        finally:
            # A cancelled request must still give its connection back.
            await asyncio.shield(connection.close())

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if self.dialect.may_pass(error):
                raise DatabaseUnavailable(error) from error
            raise

    def clock(self) -> ColumnElement[float]:
        """Seconds since the epoch by the database's clock: the only clock that leases may use."""
        return self.dialect.clock()

    async def close(self) -> None:
        await self.engine.dispose()


def dialect_of(connection: AsyncConnection) -> Dialect:
    return DIALECTS[connection.dialect.name]


async def insert_once(tx: AsyncConnection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert unless the primary (or a unique) key exists; return whether a row was inserted."""
    # Expressions are evaluated by the database: its clock, say.
    expressions = {
        name: value for name, value in values.items() if isinstance(value, ClauseElement)
    }
    statement = _insert_once(table, dialect_of(tx))
    plain = {name: value for name, value in values.items() if name not in expressions}
    return (
        await tx.execute(statement.values(**expressions) if expressions else statement, plain)
    ).rowcount == 1


async def upsert(tx: AsyncConnection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert, or replace the row with the same primary key."""
    await tx.execute(_upsert(table, dialect_of(tx), frozenset(values)), values)


# Building a statement takes more CPU (about 0.6 ms) than executing it.
@functools.lru_cache(maxsize=256)
def _insert_once(table: Table, dialect: Dialect) -> Insert:
    return dialect.insert(table).on_conflict_do_nothing()


@functools.lru_cache(maxsize=256)
def _upsert(table: Table, dialect: Dialect, names: frozenset[str]) -> Insert:
    insert = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: insert.excluded[name] for name in names if name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=rest)


def timestamp(name: str, *, nullable: bool = True) -> Column[datetime]:
    """Make a column of moments for people; leases and orders stand on `seconds`."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def seconds(name: str, *, nullable: bool = True, default: float | None = None) -> Column[float]:
    """Make a column of seconds since the epoch."""
    return Column(name, Float, nullable=nullable, default=default)
