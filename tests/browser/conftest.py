"""A real Chromium and the real review service on SQLite, served by uvicorn; there is no event log
to talk to.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn

from services.review.app import build
from services.review.settings import Settings
from tests.kafka import free_port
from tests.unit.review.harness import Review

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def served(keys: dict[str, str], tmp_path: Path) -> AsyncIterator[tuple[Review, str]]:
    port = free_port()
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path}/review.db",
        keys_file=keys["file"],
        port=port,
        artifacts_url=f"file://{tmp_path}/artifacts",
        kafka_bootstrap_servers=f"127.0.0.1:{free_port()}",
    )
    service = build(settings)
    server = uvicorn.Server(
        uvicorn.Config(service.api, port=port, log_level="error", access_log=False)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    yield Review(service, keys), f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator:
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    executable = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if executable is None:
        pytest.skip(
            "no Chromium on this machine: 'apt-get install chromium' lets the browser test run"
        )
    async with playwright.async_playwright() as driver:
        context = await driver.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=executable,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 860},
            timezone_id="Asia/Kolkata",
        )
        yield context
        await context.close()
