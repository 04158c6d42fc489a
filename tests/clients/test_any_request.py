"""No request that /openapi.json allows, nor one like it that it does not, makes a 500."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from tests.clients.test_clients import HERE, INSTALLED, SUMMARY
from tests.unit.router.conftest import Running, router, settings, vllm
from tests.unit.router.fakes import served
from tests.unit.router.other_upstream import OtherUpstreamStandIn
from tests.unit.router.test_passing import upstream, write

__all__ = ["router", "settings", "vllm"]

TOOL = INSTALLED / "bin" / "schemathesis"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="not installed: run 'make test-clients'")
EXAMPLES = os.environ.get("RATCHET_EXAMPLES", "20")


async def tried(url: str, secret: str, folder: Path, *more: str) -> tuple[int, str]:
    """Let schemathesis send what it thinks of; return its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        str(TOOL),
        "run",
        f"{url}/openapi.json",
        *("--header", f"Authorization: Bearer {secret}"),
        *("--checks", "not_a_server_error,error_in_shape"),
        *("--max-examples", EXAMPLES),
        *("--phases", "examples,coverage,fuzzing"),
        *("--seed", "7"),
        *more,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "any_request"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(280):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.timeout(600)
async def test_no_request_makes_a_500(router: Running, tmp_path: Path) -> None:
    await router.create(SUMMARY)
    code, said = await tried(router.url, router.secrets["acme"], tmp_path)
    assert code == 0, said[-6000:]
    for door in ("chat/completions", "responses", "completions", "embeddings", "routes"):
        assert f"/v1/{door}" in router.service.api.openapi()["paths"]


async def test_it_would_be_seen(router: Running, tmp_path: Path) -> None:
    """The control: a 500, and an error in another shape."""

    async def broken(*_: Any, **__: Any) -> None:
        raise KeyError("x")

    async def shapeless(*_: Any, **__: Any) -> None:
        raise HTTPException(418, detail="")

    table = router.service.parts.table
    table.owned_by = broken  # type: ignore[method-assign]
    code, said = await tried(
        router.url, router.secrets["acme"], tmp_path, "--include-path", "/v1/models"
    )
    assert code == 1 and "Server error" in said
    table.owned_by = shapeless  # type: ignore[method-assign]
    code, said = await tried(
        router.url, router.secrets["acme"], tmp_path, "--include-path", "/v1/models"
    )
    assert code == 1 and "says nothing" in said


@pytest.fixture
async def passing(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BIGCO_KEY", "sk-1")
    async with served(OtherUpstreamStandIn().app) as url:
        settings["upstreams_file"] = write(tmp_path, upstream(url, models=["*"]))
        yield


@pytest.mark.timeout(600)
async def test_nor_where_models_pass_through(
    passing: None, router: Running, tmp_path: Path
) -> None:
    code, said = await tried(
        router.url, router.secrets["acme"], tmp_path, "--include-path-regex", "completions|embed"
    )
    assert code == 0, said[-6000:]
