"""A body over the limit gets a 413 in our JSON shape, declared or streamed."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi import APIRouter
from pydantic import BaseModel

from shared.http.app import create_api
from shared.settings import ServiceSettings

router = APIRouter()


class Body(BaseModel):
    text: str


@router.post("/length")
async def length(body: Body) -> int:
    return len(body.text)


@pytest.fixture
def client(keys: dict[str, str]) -> httpx.AsyncClient:
    settings = ServiceSettings(
        database_url="sqlite+aiosqlite://", keys_file=keys["file"], max_body_bytes=1000
    )
    api = create_api(
        "test", settings, [router], ready=lambda: None, trouble=lambda: None, lifespan=None
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test")


def pieces() -> Iterator[bytes]:
    yield b'{"text": "'
    for _ in range(20):
        yield b"x" * 100
    yield b'"}'


async def test_a_declared_and_a_streamed_body_are_both_limited(client: httpx.AsyncClient) -> None:
    assert (await client.post("/length", json={"text": "x" * 900})).json() == 900

    async def stream():
        for piece in pieces():
            yield piece

    for body in (
        {"json": {"text": "x" * 2000}},
        {"content": stream(), "headers": {"content-type": "application/json"}},
    ):
        answer = await client.post("/length", **body)
        assert answer.status_code == 413
        assert answer.json() == {
            "error": "BodyTooLarge",
            "detail": "the body is larger than 1000 bytes: send less at once",
        }
