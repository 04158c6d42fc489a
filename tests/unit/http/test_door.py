"""The key comes before the body, an allowance before the work, and a mishap tells nothing of it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from shared.http import create_api
from shared.http.allowance import Allowances, TooManyAtOnce, TooManyRequests
from shared.http.auth import Keyring, UnusableKeyName, new_key
from shared.storage.db import Database
from shared.telemetry import configure_logging
from tests.unit.http.servers import api_for, head, serving, settings_for

MARKER = "ada@example.com-4111111111111111"


@pytest.fixture
async def client(keys: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(keys) as http:
        yield http


def client_of(keys: dict[str, str], **changes: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(api_for(settings_for(keys, **changes)))
    return httpx.AsyncClient(
        transport=transport,
        base_url="http://test",
        headers={"authorization": f"Bearer {keys['acme']}"},
    )


class Pieces:
    """A body that counts how much of it was asked for."""

    def __init__(self) -> None:
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(32):
            self.read += 1
            yield b" " * 65536


@pytest.mark.parametrize("path", ["/v1/parsed", "/v1/raw", "/v1/nowhere"])
async def test_without_a_key_nothing_of_a_body_is_read(
    client: httpx.AsyncClient, path: str
) -> None:
    for credentials in ({"authorization": ""}, {"authorization": "Bearer rk_no"}):
        body = Pieces()
        answer = await client.post(path, content=body, headers=credentials)
        assert (answer.status_code, answer.json()["error"]) == (401, "Unauthenticated")
        assert body.read == 0


async def test_the_control_fastapi_alone_reads_it_all(keys: dict[str, str]) -> None:
    api = api_for(settings_for(keys))
    api.user_middleware.clear()
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        body = Pieces()
        json_body = {"content-type": "application/json"}
        await http.post("/v1/parsed", content=body, headers=json_body)
    assert body.read == 32


async def test_where_no_key_is_needed_only_a_small_body_is_read(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    assert (await client.post("/open", content=b"x" * 10_000)).json() == 10_000
    assert (await client.post("/open", content=b"x" * 20_000)).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"text":' * 50_000,
        b'{"text": ' + b"9" * 100_000 + b"}",
        b'{"text": NaN}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xff"}',
        b'{"text": "a", "text": 7}',
        b"\x1f\x8b\x08",
        b"",
    ],
    ids=[
        "deep list",
        "deep object",
        "a long number",
        "NaN",
        "half a surrogate",
        "not UTF-8",
        "the last of two",
        "gzip",
        "nothing",
    ],
)
async def test_hostile_json_is_refused_in_words(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(
        "/v1/parsed", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]) == (422, "InvalidRequest")
    assert (await client.post("/v1/parsed", json={"text": "good"})).json() == 4


@pytest.mark.parametrize("address", ["/v1/%00", "/v1/slow?route=%00"])
async def test_an_address_with_a_nul_is_refused(client: httpx.AsyncClient, address: str) -> None:
    answer = await client.get(address)
    assert (answer.status_code, answer.json()["error"]) == (422, "NulInAddress")


async def test_more_at_once_than_allowed_is_429_for_that_tenant_alone(
    keys: dict[str, str],
) -> None:
    async with client_of(keys, tenant_requests_at_once=3) as http:
        other = {"authorization": f"Bearer {keys['globex']}"}
        mine = [asyncio.create_task(http.get("/v1/slow")) for _ in range(10)]
        await asyncio.sleep(0.1)
        theirs = await http.get("/v1/slow", headers=other)
        answers = [await one for one in mine]
        assert Counter(one.status_code for one in answers) == {200: 3, 429: 7}
        refused = next(one for one in answers if one.status_code == 429)
        assert (refused.json()["error"], refused.headers["retry-after"]) == ("TooManyAtOnce", "1")
        assert theirs.status_code == 200
        assert (await http.get("/v1/slow")).status_code == 200  # what was counted in is out again


async def test_probes_are_answered_whatever_others_ask(keys: dict[str, str]) -> None:
    async with client_of(keys, tenant_requests_at_once=1) as http:
        busy = asyncio.create_task(http.get("/v1/slow"))
        await asyncio.sleep(0.1)
        assert (await http.get("/v1/slow")).status_code == 429
        assert (await http.get("/health/live")).status_code == 200
        await busy


async def test_bodies_that_drip_without_a_key_take_nothing_from_others(
    keys: dict[str, str],
) -> None:
    settings = settings_for(keys)
    async with serving(api_for(settings), settings) as server, httpx.AsyncClient() as http:
        for _ in range(100):
            await server.connect(head("none", "/open", "POST", "content-length: 100") + b"x")
        await asyncio.sleep(0.2)
        assert (await http.post(f"{server.url}/open", content=b"abc")).json() == 3


async def test_many_who_ask_whether_it_is_ready_ask_once(keys: dict[str, str]) -> None:
    asked = 0

    async def ready() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return {"database": "up"}

    api = create_api("test", settings_for(keys), [], ready, lambda: None, None)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(api), base_url="http://test"
    ) as http:
        answers = await asyncio.gather(*(http.get("/health/ready") for _ in range(50)))
        assert {answer.json()["database"] for answer in answers} == {"up"}
        assert asked == 1
        await http.get("/health/ready")
        assert asked == 2


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("whose", ["tenant", "key"])
def test_a_rate_fills_again_with_time(keys: dict[str, str], whose: str) -> None:
    clock = Clock()
    settings = settings_for(keys, **{f"{whose}_requests_per_second": 10.0})
    allowances = Allowances(settings, clock)
    who = Keyring(settings.keys_file).authenticate(keys["acme"])

    def burst() -> int:
        taken = 0
        while True:
            try:
                allowances.leave(allowances.enter(who))
            except TooManyRequests:
                return taken
            taken += 1

    assert burst() == 10
    clock.now += 0.55
    assert burst() == 5
    clock.now += 100
    assert burst() == 10


def test_what_is_refused_counts_for_nobody(keys: dict[str, str]) -> None:
    settings = settings_for(keys, key_requests_at_once=1)
    allowances = Allowances(settings, Clock())
    who = Keyring(settings.keys_file).authenticate(keys["acme"])
    held = allowances.enter(who)
    for _ in range(5):
        with pytest.raises(TooManyAtOnce):
            allowances.enter(who)
    assert [account.running for account in held] == [1, 1]
    allowances.leave(held)
    assert [account.running for account in held] == [0, 0]


def test_the_door_costs_microseconds(keys: dict[str, str]) -> None:
    allowances = Allowances(settings_for(keys))
    who = Keyring(settings_for(keys).keys_file).authenticate(keys["acme"])
    started = time.process_time()
    for _ in range(4000):
        allowances.leave(allowances.enter(who))
    assert (time.process_time() - started) / 4000 < 50e-6  # about 1.5 us on an idle core


class Strict(BaseModel):
    number: int


def a_validation_error() -> None:
    Strict.model_validate({"number": MARKER})


def a_key_error() -> None:
    {}[MARKER]


def one_under_another() -> None:
    try:
        a_validation_error()
    except ValueError as error:
        raise RuntimeError(MARKER) from error


@pytest.mark.parametrize("mishap", [a_validation_error, a_key_error, one_under_another])
async def test_a_mishap_prints_no_value(
    keys: dict[str, str], capfd: pytest.CaptureFixture[str], mishap: Callable[[], None]
) -> None:
    await provoke(keys, mishap)
    said = "".join(capfd.readouterr())
    assert "unexpected" in said and mishap.__name__ in said  # the place is there
    assert MARKER not in said


async def test_a_database_error_prints_no_value(
    keys: dict[str, str], db: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    async with db.transaction() as tx:
        await tx.execute(text("CREATE TABLE one (name VARCHAR(80) PRIMARY KEY)"))

    async def mishap() -> None:
        async with db.transaction() as tx:
            for _ in range(2):
                await tx.execute(text("INSERT INTO one VALUES (:name)"), {"name": MARKER})

    await provoke(keys, mishap)
    said = "".join(capfd.readouterr())
    assert "IntegrityError: " in said
    assert MARKER not in said


async def test_a_task_that_nobody_waits_for_prints_no_value(
    keys: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    async def failing() -> None:
        a_validation_error()

    async def mishap() -> None:
        task = asyncio.create_task(failing())
        await asyncio.sleep(0.01)
        del task
        gc.collect()
        raise RuntimeError(MARKER)

    await provoke(keys, mishap)
    said = "".join(capfd.readouterr())
    assert "Task exception was never retrieved" in said
    assert MARKER not in said
    assert "input_value" not in said


async def provoke(keys: dict[str, str], mishap: Callable[[], Any]) -> None:
    """Let an endpoint fail, behind a real server, with the log as a service has it."""
    known = logging.getLogger().handlers[:]
    configure_logging("DEBUG", "console")
    settings = settings_for(keys)
    api = api_for(settings)

    async def failing() -> None:
        if (pending := mishap()) is not None:
            await pending

    api.post("/v1/mishap")(failing)
    try:
        async with serving(api, settings) as server, httpx.AsyncClient() as http:
            headers = {"authorization": f"Bearer {keys['acme']}"}
            answer = await http.post(
                f"{server.url}/v1/mishap", headers=headers, json={"text": MARKER}
            )
            assert answer.status_code == 500
            assert MARKER not in answer.text
            assert MARKER not in generate_latest().decode()
            assert (await http.get(f"{server.url}/v1/slow", headers=headers)).status_code == 200
    finally:
        logging.getLogger().handlers[:] = known


@pytest.mark.parametrize("path", ["/v1/raw", "/v1/parsed"])
async def test_a_client_that_leaves_in_mid_body_is_no_error(
    keys: dict[str, str], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    settings = settings_for(keys)
    async with serving(api_for(settings), settings) as server:
        for _ in range(3):
            client = await server.connect(
                head(keys["acme"], path, "POST", "content-length: 100000") + b'{"te'
            )
            await asyncio.sleep(0.05)
            client.vanish()
        answering = await server.connect(head(keys["acme"], "/v1/slow", "GET"))
        await asyncio.sleep(0.05)
        answering.vanish()
        await asyncio.sleep(0.7)
        after = await server.connect(head(keys["acme"], "/v1/slow", "GET"))
        assert b"done" in await after.response()
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_errors_do_not_repeat_names_of_any_length(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/parsed", json={"text": {"x" * 50_000: 1}})
    assert answer.status_code == 422
    assert len(answer.text) < 1000
    assert json.loads(answer.text)["error"] == "InvalidRequest"


@pytest.mark.parametrize(
    ("name", "tenant"),
    [("", "acme"), ("x" * 101, "acme"), ("a\0b", "acme"), ("a\nb", "acme"), ("a\ud800", "acme")]
    + [("ada", tenant) for tenant in ("", "Acme", "a/b", "a b", "x" * 65)],
    ids=repr,
)
def test_a_key_is_named_like_what_events_can_carry(name: str, tenant: str) -> None:
    with pytest.raises(UnusableKeyName):
        new_key(name, tenant, {"read"})
    assert new_key("Ada Lovelace, support", "acme-2", {"read"})[1].tenant == "acme-2"
