"""A service with 256 descriptors goes on while 600 requests are half sent, none with a key."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.kafka import free_port

DESCRIPTORS = 256
HALF_SENT = 600
START = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
sys.argv = ["services.capture"]
runpy.run_module("services.capture", run_name="__main__")
"""


@contextmanager
def capture(folder: Path, keys: dict[str, str], soft: int, **env: str) -> Iterator[str]:
    port = free_port()
    settings = {
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/capture.db",
        "ARTIFACTS_URL": f"file://{folder}/artifacts",
        "RATCHET_KEYS_FILE": keys["file"],
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PORT": str(port),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START.format(soft=soft, hard=DESCRIPTORS)],
            env=os.environ | settings | env,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not is_alive(url):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def half_send(url: str, stack: ExitStack, beginning: bytes) -> None:
    for _ in range(HALF_SENT):
        client = stack.enter_context(socket.socket())
        client.settimeout(2)
        try:
            client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            client.sendall(beginning)
        except OSError:
            pass  # cut off already, or no room in the kernel's queue


def test_half_sent_requests_stop_nobody(keys: dict[str, str], tmp_path: Path) -> None:
    with capture(tmp_path, keys, soft=64) as url, ExitStack() as stack:
        for beginning in (
            b"POST /v1/inferences HTTP/1.1\r\nhost: x\r\n",
            b"POST /v1/inferences HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        ):
            half_send(url, stack, beginning)
            # A probe that meets the flood itself may be cut off with it, once.
            assert is_alive(url) or is_alive(url)
            body = {"inference_id": "x", "route": "nowhere", "rating": 1}
            headers = {"authorization": f"Bearer {keys['acme']}"}
            answer = httpx.post(f"{url}/v1/feedback", json=body, headers=headers, timeout=5)
            assert answer.status_code == 422  # there is no such route: it was read and judged
    assert "Too many open files" not in (tmp_path / "log").read_text()
