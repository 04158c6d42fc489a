"""A mirror of downloads on this machine, which can be wrong, silent, or cut in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

# Answers a request in its own way, or returns False to leave it to the mirror.
Behaviour = Callable[[BaseHTTPRequestHandler, bytes], bool]


def silent(request: BaseHTTPRequestHandler, _: bytes) -> bool:
    """Says nothing until the client gives up."""
    request.connection.settimeout(30)
    request.connection.recv(1)
    request.close_connection = True
    return True


def silent_at_half(request: BaseHTTPRequestHandler, content: bytes) -> bool:
    head(request, 200, len(content))
    request.wfile.write(content[: len(content) // 2])
    request.wfile.flush()
    return silent(request, content)


def cut_at_half(request: BaseHTTPRequestHandler, content: bytes) -> bool:
    head(request, 200, len(content))
    request.wfile.write(content[: len(content) // 2])
    request.close_connection = True
    return True


def cut_at_once(request: BaseHTTPRequestHandler, _: bytes) -> bool:
    request.close_connection = True
    return True


def without_ranges(request: BaseHTTPRequestHandler, content: bytes) -> bool:
    head(request, 200, len(content))
    request.wfile.write(content)
    return True


def head(request: BaseHTTPRequestHandler, status: int, length: int, **headers: str) -> None:
    request.send_response(status)
    request.send_header("content-length", str(length))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()


class Mirror:
    """Serves `files` by path; `behaviours` are for the next requests of a path, one each."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.behaviours: dict[str, list[Behaviour]] = {}
        self.asked: list[tuple[str, str | None]] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("range")
        self.asked.append((request.path, wanted))
        content = self.files.get(request.path)
        if content is None:
            head(request, 404, 0)
            return
        waiting = self.behaviours.get(request.path, [])
        if waiting and waiting.pop(0)(request, content):
            return
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if first >= len(content):
            head(request, 416, 0)
            return
        span = f"bytes {first}-{len(content) - 1}/{len(content)}"
        head(request, 206 if wanted else 200, len(content) - first, content_range=span)
        request.wfile.write(content[first:])

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
