"""OpenAI's own clients through the router to the real vLLM: plain, streamed, objects, calls."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.router.app import build
from services.router.settings import Settings
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import FakeVllm, served
from tests.unit.router.real_vllm import RealVllm, on_vllm

pytestmark = on_vllm
ROOT = Path(__file__).parents[3]
NODE = ROOT / ".clients" / "node_modules"
TRIP = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Riga"]}, "nights": {"enum": [1, 2]}},
    "required": ["city", "nights"],
    "additionalProperties": False,
}
ASKED = [{"role": "user", "content": "Book me two nights in Riga."}]
BOOK = {"type": "function", "function": {"name": "book", "parameters": TRIP}}
TALK = factories.spec(
    name="acme/talk",
    task="conversation",
    labels=(),
    max_tokens=64,
    system_prompt="Help.",
    detailed_prompt="Help the customer.",
)


@pytest.fixture(params=["buffered", "live"])
async def router(
    request: pytest.FixtureRequest,
    real: RealVllm,
    settings: dict[str, Any],
    keys: dict[str, str],
    tmp_path: Path,
) -> AsyncIterator[Running]:
    chosen = settings | {"vllm_url": real.url, "vllm_timeout": 60.0}
    service = build(Settings(**chosen), sender=NoSender())
    async with served(service.api) as url:
        blobs = BlobStore(settings["artifacts_url"])
        running = Running(service, url, FakeVllm(), keys, blobs, tmp_path)
        await running.create(TALK.model_copy(update={"stream": request.param}))
        yield running


def is_trip(said: str | None) -> bool:
    trip = json.loads(said or "{}")
    return trip.get("city") in ("Oslo", "Riga") and trip.get("nights") in (1, 2)


async def test_openais_client_in_python(router: Running) -> None:
    async with router.openai() as client:
        create = client.chat.completions.create
        plain = await create(model=TALK.name, messages=ASKED, max_tokens=16)
        streamed = await create(model=TALK.name, messages=ASKED, max_tokens=16, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in streamed]
        responses = await client.responses.create(
            model=TALK.name, input=ASKED[0]["content"], max_output_tokens=16
        )
        form = {"type": "json_schema", "json_schema": {"name": "trip", "schema": TRIP}}
        held = await create(model=TALK.name, messages=ASKED, response_format=form)
        called = await create(model=TALK.name, messages=ASKED, tools=[BOOK], tool_choice="required")
    said = plain.choices[0].message.content
    assert said and "".join(pieces) == said and responses.output_text == said
    assert is_trip(held.choices[0].message.content)
    [call] = called.choices[0].message.tool_calls
    assert call.function.name == "book" and is_trip(call.function.arguments)
    assert called.choices[0].finish_reason == "tool_calls"


@pytest.mark.skipif(
    not NODE.exists() or shutil.which("node") is None,
    reason="not installed: run 'make test-clients' where there is Node",
)
async def test_openais_client_in_node(router: Running) -> None:
    script = shutil.copy(ROOT / "tests" / "clients" / "openai_on_vllm.mjs", NODE.parent)
    told = {
        "RATCHET_URL": router.url,
        "RATCHET_KEY": router.secrets["acme"],
        "RATCHET_ROUTE": TALK.name,
        "TRIP_SCHEMA": json.dumps(TRIP),
    }
    process = await asyncio.create_subprocess_exec(
        "node", str(script), env=os.environ | told, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(120):
        out, _ = await process.communicate()
    said = dict(map(json.loads, out.decode().splitlines()))
    assert said["plain"] and said["streamed"] == said["responses"] == said["plain"]
    assert is_trip(said["object"]) and is_trip(said["tool"])
