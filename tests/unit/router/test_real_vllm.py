"""The router over a real vLLM: a random LoRA is loaded, proven, served, survives a restart of vLLM,
and leaves (about two minutes).
"""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.base import AdapterRef, Message
from schemas.evaluation import Probe
from services.router.app import build
from services.router.settings import Settings
from services.router.upstream import Upstream
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import FakeVllm, served, until
from tests.unit.router.real_vllm import RealVllm, on_vllm

pytestmark = on_vllm


async def goes_on(router: Running) -> list[int]:
    """Ask as fast as the engine answers, until cancelled; return how it went."""
    met = []
    with suppress(asyncio.CancelledError):
        while True:
            met.append((await router.chat()).status_code)
            await asyncio.sleep(0.1)
    return met


async def reading(vllm: RealVllm, adapter: AdapterRef, folder: Path) -> Probe:
    """What an evaluator would have seen."""
    client = Upstream(vllm.url, 60, 8)
    await client.load(adapter.adapter_id, folder.absolute())
    reply = await client.ask(
        adapter.adapter_id, factories.spec().tuned_messages(factories.USER), 16
    )
    await client.unload(adapter.adapter_id)
    await client.close()
    return Probe(
        messages=factories.USER, answer=reply.answer, logprob=math.log(reply.confidence.score)
    )


async def test_a_real_adapter_from_load_to_unload(
    real: RealVllm, lora: Path, settings: dict[str, Any], keys: dict[str, str], tmp_path: Path
) -> None:
    blobs = BlobStore(settings["artifacts_url"])
    ref = blobs.put_folder(lora, "adapters")
    adapter = AdapterRef(adapter_id=f"acme--support-triage@{ref.sha256[:12]}", blob=ref)
    probe = await reading(real, adapter, lora)
    service = build(
        Settings(**(settings | {"vllm_url": real.url, "vllm_timeout": 60.0})), sender=NoSender()
    )
    proven = service.parts.fleet.serving
    async with served(service.api) as url:
        router = Running(service, url, FakeVllm(), keys, blobs, tmp_path)
        await router.create()
        base = (await router.chat()).json()
        assert base["choices"][0]["message"]["content"]
        assert base["ratchet"]["arm"] == "base"
        assert 0 < base["ratchet"]["score"] < 1

        await router.handle(factories.evaluated(adapter=adapter, probe=probe))
        await until(lambda: router.state().champion == adapter, 60)
        tuned = await router.chat()
        assert tuned.json()["ratchet"]["attempts"][0]["arm"] == "champion"
        assert [a["adapter_id"] for a in tuned.json()["ratchet"]["attempts"]] == [
            adapter.adapter_id,
            None,
        ]

        upstream = service.parts.upstream
        engine = upstream.grammar.engine
        assert len(engine.split()) == 3, "release, base model and chat template"
        asking = [asyncio.create_task(goes_on(router)) for _ in range(2)]
        await asyncio.sleep(3)
        real.kill()
        down = await router.chat()
        assert (down.status_code, down.headers["retry-after"]) == (503, "5")
        await asyncio.to_thread(real.start)
        async with asyncio.timeout(60):
            while adapter.adapter_id not in await upstream.models():
                await asyncio.sleep(0.1)
        assert upstream.grammar.engine == engine
        await until(lambda: proven(adapter.adapter_id), 60)
        for task in asking:
            task.cancel()
        met = await asyncio.gather(*asking)
        assert {status for statuses in met for status in statuses} == {200, 503}
        back = (await router.chat()).json()["ratchet"]["attempts"][0]
        assert (back["arm"], back["answer"]) == (
            "champion",
            tuned.json()["ratchet"]["attempts"][0]["answer"],
        )

        async with router.http() as http:
            await http.post(f"/v1/routes/{factories.ROUTE}/rollback", json={"to": "base"})
        await until(lambda: adapter.adapter_id not in service.parts.fleet.loaded, 30)


async def test_a_real_adapter_that_does_nothing_or_something_else_is_not_served(
    real: RealVllm, lora: Path, settings: dict[str, Any], keys: dict[str, str], tmp_path: Path
) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    idle = tmp_path / "idle"
    idle.mkdir()
    weights = safetensors.load_file(lora / "adapter_model.safetensors")
    safetensors.save_file(
        {name: value * 0 if "lora_B" in name else value for name, value in weights.items()},
        idle / "adapter_model.safetensors",
    )
    (idle / "adapter_config.json").write_bytes((lora / "adapter_config.json").read_bytes())
    blobs = BlobStore(settings["artifacts_url"])
    service = build(
        Settings(**(settings | {"vllm_url": real.url, "vllm_timeout": 60.0})), sender=NoSender()
    )
    async with served(service.api) as url:
        router = Running(service, url, FakeVllm(), keys, blobs, tmp_path)
        await router.create()
        elsewhere = Probe(
            messages=(Message(role="user", content="Where is my parcel?"),),
            answer="quite another answer",
            logprob=-30.0,
        )
        for folder, probe, says in (
            (idle, None, "exactly like the base model"),
            (lora, elsewhere, "otherwise than when it was evaluated"),
        ):
            ref = blobs.put_folder(folder, "adapters")
            adapter = AdapterRef(adapter_id=f"acme--support-triage@{ref.sha256[:12]}", blob=ref)
            await router.handle(factories.evaluated(adapter=adapter, probe=probe))
            await until(lambda: router.state().challenger is None, 90)
            async with router.http() as http:
                assert (
                    says
                    in (await http.get(f"/v1/routes/{factories.ROUTE}")).json()["history"][0][
                        "because"
                    ]
                )
            assert adapter.adapter_id not in service.parts.fleet.loaded


def running(vllm: RealVllm) -> float:
    """Return how many questions the engine computes, by its own metrics."""
    lines = httpx.get(f"{vllm.url}/metrics", timeout=10).text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{"))
    )


LETTER = factories.spec(
    task="conversation",
    labels=(),
    max_tokens=900,
    system_prompt="Write.",
    detailed_prompt="Write a very long letter.",
    system="append",
)
STRICT = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Riga"]}, "nights": {"enum": [1, 2]}},
    "required": ["city", "nights"],
    "additionalProperties": False,
}


async def test_who_leaves_frees_the_real_engine_and_what_is_asked_for_is_held(
    real: RealVllm, settings: dict[str, Any], keys: dict[str, str], tmp_path: Path
) -> None:
    service = build(
        Settings(**(settings | {"vllm_url": real.url, "vllm_timeout": 60.0})), sender=NoSender()
    )
    async with served(service.api) as url:
        blobs = BlobStore(settings["artifacts_url"])
        router = Running(service, url, FakeVllm(), keys, blobs, tmp_path)
        await router.create(LETTER)
        asking = asyncio.create_task(router.chat("Count from one to a thousand, in words."))
        await until(lambda: running(real) == 1, 20)
        asking.cancel()
        # 900 tokens would take some 15 s
        await until(lambda: running(real) == 0, 6)
        async with router.openai() as client:
            held = await client.chat.completions.create(
                model=LETTER.name,
                messages=[{"role": "user", "content": "Book me two nights in Riga."}],
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "trip", "schema": STRICT},
                },
                max_tokens=40,
            )
            stopped = await client.chat.completions.create(
                model=LETTER.name,
                messages=[{"role": "user", "content": "Say: one two three"}],
                stop=["e"],
                max_tokens=30,
            )
            short = await client.chat.completions.create(
                model=LETTER.name,
                messages=[{"role": "user", "content": "Tell me a story."}],
                max_tokens=5,
                logprobs=True,
                top_logprobs=3,
                stream=True,
            )
            parts = [chunk.choices[0] async for chunk in short]
    assert json.loads(held.choices[0].message.content)["city"] in ("Oslo", "Riga")
    assert "e" not in stopped.choices[0].message.content
    assert parts[-1].finish_reason == "length"
    [tokens] = [part.logprobs.content for part in parts if part.logprobs]
    assert len(tokens) == 5 and all(len(token.top_logprobs) == 3 for token in tokens)
