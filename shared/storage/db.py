"""The database of one service: SQLite (WAL) or Postgres behind one SQLAlchemy async URL."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnElement,
    DateTime,
    Float,
    Insert,
    MetaData,
    Table,
    event,
    func,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from shared import failpoints
from shared.errors import Retryable
from shared.storage.seams import use_one_visit

DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}
SQLITE_MAY_PASS = ("database is locked", "disk is full", "disk I/O error", "readonly database")
POSTGRES_MAY_PASS = (
    "40001",
    "40P01",
    "53",
    "57P",
    "08",
)  # serialisation, deadlock, out of resources, shutting down, connection


class DatabaseUnavailable(Retryable):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"the database did not answer ({type(cause).__name__}); the request was not stored,"
            " send it again"
        )


class Database:
    """Transactions over one database. `committed` is set after each commit, so that the relay wakes
    at once.
    """

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self.committed = asyncio.Event()
        # SQLite has one writer: waiting in line costs less than its busy handler, which polls.
        self._writer = asyncio.Lock() if self.is_sqlite else nullcontext()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    async def create_tables(self, metadata: MetaData) -> None:
        async with self.transaction() as tx:
            await tx.run_sync(metadata.create_all)

    @asynccontextmanager
    async def transaction(self, wake: bool = True) -> AsyncIterator[AsyncConnection]:
        """One atomic unit of work: commits on exit, rolls back on any error. `wake`: the relay
        looks whether there is something to send.
        """
        async with self._writer:
            with unavailable_where_it_may_pass():
                async with self._connected() as connection, connection.begin():
                    yield connection
                    failpoints.reach("commit.before")
        failpoints.reach("commit.after")
        if wake:
            self.committed.set()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A snapshot to read from; takes no write lock on SQLite."""
        with unavailable_where_it_may_pass():
            async with self._connected() as connection:
                yield await connection.execution_options(read_only=True)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        connection = self.engine.connect()
        try:
            await connection.start()
        except (
            OSError,
            DBAPIError,
            PoolExhausted,
        ) as error:  # OSError is the driver's own: nothing listens there
            raise DatabaseUnavailable(error) from error
        try:
            yield connection
        finally:
            await asyncio.shield(
                connection.close()
            )  # a cancelled request must still give its connection back

    def clock(self) -> ColumnElement[float]:
        """Seconds since the epoch by the database's clock: the only clock that leases may use."""
        if self.is_sqlite:
            return (func.julianday("now") - 2440587.5) * 86400.0
        return func.extract("epoch", func.clock_timestamp())

    async def close(self) -> None:
        await self.engine.dispose()


@contextmanager
def unavailable_where_it_may_pass() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if may_pass(error):
            raise DatabaseUnavailable(error) from error
        raise


def may_pass(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed later: locked, cut off, in conflict with another
    one, out of space.
    """
    state = getattr(error.orig, "sqlstate", None)
    if state and not error.connection_invalidated:
        return state.startswith(POSTGRES_MAY_PASS)
    return error.connection_invalidated or any(
        words in str(error.orig) for words in SQLITE_MAY_PASS
    )


def make_engine(url: str) -> AsyncEngine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, hide_parameters=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    use_one_visit()
    engine = create_async_engine(
        url, hide_parameters=True, pool_reset_on_return=None
    )  # parameters are content, and errors end in logs and DLQ headers
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    event.listen(engine.sync_engine, "reset", _reset_sqlite)
    return engine


def _prepare_sqlite(connection, _record) -> None:  # noqa: ANN001
    connection.isolation_level = None  # the driver must not open transactions by itself
    # FULL: a commit survives power loss, not just a crash of the process. A checkpoint every 16 MB
    # and not every 4: pages that many commits change are copied into the database less often (7.7
    # us of commit for each event captured became 5.9).
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=10000",
        "foreign_keys=ON",
        "wal_autocheckpoint=4000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection) -> None:  # noqa: ANN001
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _reset_sqlite(connection, _record, state) -> None:  # noqa: ANN001
    """What the pool does by default costs a visit to the connection's thread, also after a
    commit.
    """
    if not state.terminate_only and connection.driver_connection.in_transaction:
        connection.rollback()


async def insert_once(tx: AsyncConnection, table: Table, values: dict) -> bool:
    """Insert unless the primary (or a unique) key exists; says whether a row was inserted."""
    expressions = {
        name: value for name, value in values.items() if isinstance(value, ClauseElement)
    }  # the database's clock, say
    statement = _insert_once(table, tx.dialect.name)
    plain = {name: value for name, value in values.items() if name not in expressions}
    return (
        await tx.execute(statement.values(**expressions) if expressions else statement, plain)
    ).rowcount == 1


async def upsert(tx: AsyncConnection, table: Table, values: dict) -> None:
    """Insert, or replace the row with the same primary key."""
    await tx.execute(_upsert(table, tx.dialect.name, frozenset(values)), values)


# Building a statement takes more CPU (about 0.6 ms) than executing it.
@functools.lru_cache(maxsize=256)
def _insert_once(table: Table, dialect: str) -> Insert:
    return DIALECTS[dialect].insert(table).on_conflict_do_nothing()


@functools.lru_cache(maxsize=256)
def _upsert(table: Table, dialect: str, names: frozenset[str]) -> Insert:
    insert = DIALECTS[dialect].insert(table)
    keys = [column.name for column in table.primary_key]
    rest = {name: insert.excluded[name] for name in names if name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=rest)


def timestamp(name: str, **options) -> Column:  # noqa: ANN003
    return Column(name, DateTime(timezone=True), **options)


def seconds(name: str, **options) -> Column:  # noqa: ANN003
    return Column(name, Float, **options)
