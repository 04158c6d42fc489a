"""Every kind of bad input gets an error that says what to do, and nothing of it is stored."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest

from services.capture.parsing import BodyTooLarge, unpack
from shared.http.auth import new_key
from tests.unit.capture.conftest import Capture

PATH = "/v1/inferences"
GOOD = {"route": "support-triage", "input": "hello", "answer": "hi"}
GZIP = {"content-encoding": "gzip"}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b"\xff\xfe{}", 400, "not valid JSON"),
        (b'{"answer": }', 400, "not valid JSON"),
        (b'{"inferences": [{"answer": "a"}', 400, "not valid JSON"),
        (b'{"inferences": [{"answer": "a]}', 400, "not valid JSON"),
        (b"[" * 100_000, 400, "recursion limit"),
        (b'{"a":' * 100_000, 400, "recursion limit"),
        (b"[]", 422, "send one object"),
        (b"null", 422, "send one object"),
        (b'"text"', 422, "send one object"),
        (b'{"inferences": []}', 422, "send one object"),
        (b'{"inferences": {}}', 422, "send one object"),
        (json.dumps({"inferences": [GOOD] * 1001}).encode(), 422, "split the batch"),
        (b"x" * (5 * 1024 * 1024), 413, ""),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
async def test_a_body_that_cannot_be_read_is_refused_whole(
    small: Capture, body: bytes, status: int, says: str
) -> None:
    reply = await small.post(PATH, body)
    assert reply.status_code == status
    assert set(reply.json()) == {"error", "detail"}
    assert says in reply.json()["detail"]
    assert await small.events() == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer": 7}, "answer: Input should be a valid string"),
        ({"answer": "\x00"}, "answer: contains the NUL character"),
        ({"answer": "\ud800"}, "answer: contains half of a surrogate pair"),
        ({"answer": float("nan")}, "answer: Input should be a valid string"),
        ({"answer": {"label": "a"}}, "answer: Input should be a valid string"),
        ({"input": None, "messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"input": None, "messages": [{"role": "user", "content": [7]}]}, "neither a text nor"),
        ({"client_id": True}, "client_id: Input should be a valid string"),
        ({"route": "Not A Route"}, "route: String should match pattern"),
        ({"route": None}, "route: Input should be a valid string"),
        ({"route": "globex/support-triage"}, "no route 'globex/support-triage'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "send either 'messages' or 'input'"),
        ({"input": None, "messages": []}, "messages: Tuple should have at least 1 item"),
        (
            {"input": None, "messages": [{"role": "user", "content": "x"}] * 501},
            "messages: Tuple should have at most 500 items",
        ),
        (
            {"input": None, "messages": [{"role": "wizard", "content": "x"}]},
            "messages.0.role: Input should be 'system'",
        ),
        ({"input": None, "messages": "hello"}, "messages: Input should be a valid tuple"),
        ({"client_id": ""}, "client_id: String should have at least 1 character"),
        ({"client_id": "x" * 129}, "client_id: String should have at most 128 characters"),
        ({"client_id": "a b"}, "client_id: String should match pattern"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_item_is_refused_with_the_reason(
    small: Capture, change: dict[str, object], says: str
) -> None:
    reply = await small.post(PATH, GOOD | change)
    assert reply.status_code in (400, 422)
    assert says in reply.json()["detail"]
    assert await small.events() == []


async def test_errors_never_repeat_what_was_sent(small: Capture) -> None:
    reply = await small.post(
        PATH, GOOD | {"latency_ms": "ada@example.com", "prompt_tokens": "4111111111111111x"}
    )
    assert "ada@" not in reply.text
    assert "4111" not in reply.text


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (gzip.compress(b"0" * (17 * 1024 * 1024)), GZIP, 413, "BodyTooLarge"),
        (gzip.compress(b"0" * (9 * 1024 * 1024)) * 2, GZIP, 413, "BodyTooLarge"),
        (gzip.compress(b"") * 150_000, GZIP, 400, "TooManyMembers"),
        (gzip.compress(gzip.compress(json.dumps(GOOD).encode())), GZIP, 400, "MalformedBody"),
        (gzip.compress(json.dumps(GOOD).encode())[:-12], GZIP, 400, "BadGzip"),
        (b"not gzip", GZIP, 400, "BadGzip"),
        (json.dumps(GOOD).encode(), {"content-encoding": "br"}, 415, "UnknownEncoding"),
    ],
    ids=[
        "bomb",
        "bomb in two members",
        "nothing in many members",
        "packed twice",
        "cut",
        "plain",
        "brotli",
    ],
)
async def test_compressed_bodies_are_bounded(
    small: Capture, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    reply = await small.post(PATH, body, **headers)
    assert (reply.status_code, reply.json()["error"]) == (status, error)
    assert await small.events() == []


def test_a_bomb_costs_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(b"0" * (256 * 1024 * 1024))
    limit = 1024 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            unpack(bomb, "gzip", limit)
        assert tracemalloc.get_traced_memory()[1] < 4 * limit
    finally:
        tracemalloc.stop()


async def test_keys_and_scopes_are_checked_first(small: Capture, tmp_path: object) -> None:
    secret, record = new_key("reader", "acme", {"read"})
    keyring = small.service.api.state.keyring
    records = json.loads(keyring.path.read_text())["keys"]
    keyring.path.write_text(json.dumps({"keys": [*records, record.model_dump(mode="json")]}))
    keyring._checked = -1.0
    for path in (PATH, "/v1/feedback"):
        assert (await small.http.post(path, content=b"{")).status_code == 401
        assert (
            await small.http.post(path, content=b"{", headers={"authorization": f"Bearer {secret}"})
        ).status_code == 403
