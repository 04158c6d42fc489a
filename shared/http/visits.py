"""What is known of a request by its head alone, its name above all; and the access log."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from typing import NamedTuple

from starlette.types import Message, Scope

from shared.http.auth import Principal
from shared.telemetry import log

# More digits than any size has; `int` refuses thousands of them with an error of its own.
SIZE_DIGITS = 15
REQUEST_ID_HEADER = b"x-request-id"
# What a caller may choose: it is said again in headers and logs.
REQUEST_ID = re.compile(rb"[\x20-\x7e]{1,128}")
ABANDONED = 499


class Head(NamedTuple):
    """`secret` is the bearer key, if there is one, `size` what is declared for the body."""

    secret: str | None
    size: int
    request_id: str


def head_of(scope: Scope) -> Head:
    """Read a head in one go; a request without a fit id gets one of 96 random bits."""
    secret = request_id = None
    size = 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, given = value.decode("latin-1").partition(" ")
            secret = given.strip() if scheme.lower() == "bearer" else None
        elif name == b"content-length" and value.isdigit():
            size = int(value[:SIZE_DIGITS])
        elif name == REQUEST_ID_HEADER and REQUEST_ID.fullmatch(value):
            request_id = value.decode("ascii")
    return Head(secret, size, request_id or f"req_{os.urandom(12).hex()}")


def with_request_id(start: Message, request_id: str) -> Message:
    """Return the start of an answer that names its request, unless it does: what an upstream said
    of itself is what its support asks for.
    """
    for name, _ in start["headers"]:
        if name == REQUEST_ID_HEADER:
            return start
    said = (REQUEST_ID_HEADER, request_id.encode("ascii"))
    return {**start, "headers": [*start["headers"], said]}


def log_access(scope: Scope, start: Message | None, seconds: float, known: Container[str]) -> None:
    """Say who asked which endpoint, and what came of it; nothing that anybody wrote.

    A path may hold what a client chose, and so its template is said, or itself where it is `known`;
    a model only where it is a route of the caller's (`route` in the state of the request).
    """
    state = scope.get("state", {})
    principal: Principal | None = state.get("principal")
    path = getattr(scope.get("route"), "path", None)
    headers = dict(start["headers"]) if start else {}
    log("access").info(
        "request",
        method=scope["method"],
        path=path or (scope["path"] if scope["path"] in known else "none"),
        status=start["status"] if start else ABANDONED,
        ms=round(seconds * 1000, 1),
        tenant=principal.tenant if principal else None,
        application=principal.application if principal else None,
        request_id=state.get("request_id"),
        inference_id=headers.get(b"x-ratchet-inference-id", b"").decode("latin-1") or None,
        model=state.get("route"),
    )
