"""Clients that apps use, by their defaults: `make test-clients` installs and tries them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from tests import factories
from tests.unit.router.conftest import Running, router, settings, vllm

__all__ = ["router", "settings", "vllm"]

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".clients"
PYTHON = INSTALLED / "bin" / "python"
NODE = INSTALLED / "node_modules"
TEXT = "It arrives tomorrow, between nine and ten."
# What each route says; by a part of the name of a case.
SAID = {
    "agent": ("It is in Hamburg.",),
    "plain": ("delivery", TEXT),
    "object": ('{"total":12.5}',),
    "instructor": ('{"total":12.5}',),
}
SUMMARY = factories.spec(
    name="acme/summary",
    task="summarisation",
    labels=(),
    system_prompt="Sum.",
    detailed_prompt="Sum it up.",
    max_tokens=200,
    system="append",
)
# The same questions and answers, passed on as they come.
LIVE = SUMMARY.model_copy(update={"name": "acme/live", "stream": "live"})
AGENT = factories.spec(
    name="acme/agent",
    task="conversation",
    labels=(),
    system_prompt="Help.",
    detailed_prompt="Help them.",
    max_tokens=200,
    system="append",
)
INVOICE = factories.spec(
    name="acme/invoice",
    task="extraction",
    labels=(),
    system_prompt="Total.",
    detailed_prompt="Give the total.",
    max_tokens=200,
    output_schema={
        "type": "object",
        "properties": {"total": {"type": "number"}},
        "required": ["total"],
    },
)


def answer(model: str, messages: list[dict]) -> tuple[str, float]:
    prompt = messages[0]["content"]
    if prompt.startswith("Give the total."):
        return '{"total": 12.5}', -0.1
    if prompt.startswith("Help them."):
        result = messages[-1]
        return (f"It is in {result['content']}." if result["role"] == "tool" else "Hm."), -0.1
    return (TEXT, -0.1) if prompt.startswith("Sum it up.") else ("delivery", -0.2)


def calls(body: dict) -> list[tuple[str, str]] | None:
    """Look a parcel up, once, where there is something to look it up with."""
    if "tools" not in body or body["messages"][-1]["role"] == "tool":
        return None
    return [("find", '{"id":7}')]


async def run(router: Running, *command: str) -> dict[str, str]:
    """Run a script against a router with five routes; return what each case of it said."""
    router.vllm.answers = answer
    router.vllm.calls_of = calls
    for spec in (factories.spec(), SUMMARY, INVOICE, LIVE, AGENT):
        await router.create(spec)
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ
        | {"RATCHET_URL": router.url, "RATCHET_KEY": router.secrets["acme"], "PYTHONPATH": ""},
        cwd=INSTALLED,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(240):
        out, _ = await process.communicate()
    lines = [line for line in out.decode().splitlines() if line.startswith("[")]
    return dict(map(json.loads, lines))


def wrong(said: dict[str, str]) -> dict[str, str]:
    """Return the cases that said something else than their route does."""
    return {name: text for name, text in said.items() if text.strip() not in expected(name)}


def expected(name: str) -> tuple[str, ...]:
    if name.endswith("astream_events"):
        return ("on_chat_model_end",)
    return next((right for part, right in SAID.items() if part in name), (TEXT,))


MIGRATE = str(HERE.parents[1] / "docs" / "migrate.md")


@pytest.mark.skipif(not PYTHON.exists(), reason="not installed: run 'make test-clients'")
async def test_the_two_lines_of_the_docs_in_python(router: Running) -> None:
    said = await run(router, str(PYTHON), str(HERE / "two_lines.py"), MIGRATE)
    assert said.pop("instructor") == "12.5"
    assert said == dict.fromkeys(
        ("openai (Python)", "LangChain", "pydantic-ai", "LlamaIndex"), TEXT
    )


@pytest.mark.skipif(
    not NODE.exists() or shutil.which("node") is None,
    reason="not installed: run 'make test-clients' where there is Node",
)
async def test_the_two_lines_of_the_docs_in_node(router: Running) -> None:
    script = shutil.copy(HERE / "two_lines.mjs", INSTALLED)
    said = await run(router, "node", str(script), MIGRATE)
    assert said == dict.fromkeys(("openai (Node)", "Vercel AI SDK"), TEXT)


@pytest.mark.skipif(not PYTHON.exists(), reason="not installed: run 'make test-clients'")
async def test_clients_in_python(router: Running) -> None:
    said = await run(router, str(PYTHON), str(HERE / "python_clients.py"))
    assert len(said) == 36 and wrong(said) == {}


@pytest.mark.skipif(
    not NODE.exists() or shutil.which("node") is None,
    reason="not installed: run 'make test-clients' where there is Node",
)
async def test_clients_in_node(router: Running) -> None:
    script = shutil.copy(HERE / "node_clients.mjs", INSTALLED)
    said = await run(router, "node", str(script))
    assert len(said) == 19 and wrong(said) == {}
