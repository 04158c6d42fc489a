"""API keys. The tenant and the scopes come from the key, never from a request's body.

The keys file holds SHA-256 digests only: `{"keys": [{"id", "name", "tenant", "scopes",
"sha256"}]}`; it is read again when it changes, so a revoked key stops working within a second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, model_validator

from shared.errors import Fatal, Invalid, RatchetError

Scope = Literal["infer", "capture:write", "feedback:write", "review", "admin", "read"]
CHECK_SECONDS = 1.0
NAME_CHARACTERS = 100
TENANT = re.compile("[a-z0-9-]{1,64}")
bearer = HTTPBearer(auto_error=False, description="an API key of Ratchet: rk_...")


class Unauthenticated(RatchetError):
    status = 401

    def __init__(self) -> None:
        super().__init__("send a valid API key as 'Authorization: Bearer rk_...'")


class Forbidden(RatchetError):
    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__(f"this key lacks the scope '{scope}'")


class UnusableKeyName(Invalid):
    """A name travels in events, and stands in columns, as who decided."""

    def __init__(self) -> None:
        super().__init__(
            f"a key's name, and its application's, has 1 to {NAME_CHARACTERS} printable"
            " characters, and its tenant is named like those of routes: up to 64 of a-z, 0-9 and"
            " '-'"
        )


class Principal(BaseModel):
    """Who is asking, as the key says."""

    model_config = ConfigDict(frozen=True)
    id: str
    name: str
    tenant: str
    scopes: frozenset[Scope]
    # Whose ids are unique among themselves; a key that takes the place of another keeps it.
    application: str

    @model_validator(mode="before")
    @classmethod
    def is_some_application(cls, kept: Any) -> Any:
        """Make each name an application of its own, as for the keys of release 0.1."""
        if isinstance(kept, dict) and not kept.get("application"):
            return {**kept, "application": kept.get("name")}
        return kept


class Key(Principal):
    sha256: str


def new_key(
    name: str, tenant: str, scopes: set[Scope], application: str | None = None
) -> tuple[str, Key]:
    """Make a 256-bit secret, to be shown once, and the record to keep of it.

    The application is the one of that name unless another is said. Raises UnusableKeyName.
    """
    application = application or name
    if not (is_name(name) and is_name(application) and TENANT.fullmatch(tenant)):
        raise UnusableKeyName
    secret = f"rk_{secrets.token_urlsafe(32)}"
    return secret, Key(
        id=f"key_{secrets.token_hex(6)}",
        name=name,
        tenant=tenant,
        scopes=frozenset(scopes),
        application=application,
        sha256=digest(secret),
    )


def is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_CHARACTERS and text.isprintable()


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Keyring:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, Key] = {}
        self._checked = self._modified = -1.0

    def authenticate(self, secret: str) -> Principal | None:
        self._refresh()
        shown = digest(secret)
        found = self._keys.get(shown)
        return found if found and hmac.compare_digest(found.sha256, shown) else None

    def by_id(self, key_id: str) -> Principal | None:
        """Find the key behind a signed session, so that a revoked key ends its sessions too."""
        self._refresh()
        return next(
            (
                key
                for key in self._keys.values()
                if hmac.compare_digest(key.id.encode(), key_id.encode())
            ),
            None,
        )

    def _refresh(self) -> None:
        if time.monotonic() - self._checked < CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        try:
            modified = self.path.stat().st_mtime
            if modified != self._modified:
                keys = [
                    Key.model_validate(key) for key in json.loads(self.path.read_text())["keys"]
                ]
                self._keys = {key.sha256: key for key in keys}
                self._modified = modified
        except (OSError, ValueError, KeyError) as error:
            raise Fatal(
                f"the keys file {self.path} cannot be read ({type(error).__name__}): create it with"
                " 'ratchet keys'"
            ) from error


def keyring_of(request: Request) -> Keyring:
    """Return the keyring that `create_api` gave to this application."""
    keyring: Keyring = request.app.state.keyring
    return keyring


def require(scope: Scope) -> Callable[..., Awaitable[Principal]]:
    """Make a FastAPI dependency: the principal that the door found, who must hold `scope`."""

    async def principal(
        request: Request,
        # Read at the door; here it is what /openapi.json says of the endpoint.
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> Principal:
        return holder(request, scope)

    return principal


def holder(request: Request, scope: Scope) -> Principal:
    """Return who sent a request, whom the door found. Raises Unauthenticated and Forbidden."""
    found: Principal | None = request.state.principal
    if found is None:
        raise Unauthenticated
    if scope not in found.scopes:
        raise Forbidden(scope)
    return found
