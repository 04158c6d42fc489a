"""Fixtures every test may use: a database of each kind, keys, and an event factory's home. Never
imported.
"""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.http.auth import new_key
from shared.storage.db import Database
from tests.postgres import PostgresServer, postgres_missing


@pytest.fixture(autouse=True, scope="module")
def unseen_past() -> None:
    """Keep the garbage collector from what all modules before have left: in a whole run it looked
    through that again and again, and a page of 0.4 s took 4.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    if reason := postgres_missing():
        pytest.skip(reason)
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database; a test that takes it runs on SQLite and on a real Postgres."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/test.db"
    return request.getfixturevalue("postgres_server").new_database()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def sqlite_db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/test.db")
    yield database
    await database.close()


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """A keys file for two tenants; returns its path and one secret with every scope per tenant."""
    secrets = {}
    records = []
    for tenant in ("acme", "globex"):
        secret, record = new_key(
            f"{tenant}-all",
            tenant,
            {"infer", "capture:write", "feedback:write", "review", "admin", "read"},
        )
        secrets[tenant] = secret
        records.append(record.model_dump(mode="json"))
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": records}))
    return {"file": str(path)} | secrets
