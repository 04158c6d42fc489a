"""API keys on this machine: digests for the services, and the secrets of development keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from infra.local.home import Home, write_atomically
from schemas.base import JsonObject
from shared.errors import RatchetError
from shared.http import Scope, new_key

TENANT = "acme"
DEVELOPMENT = {
    "app": {"infer", "feedback:write", "capture:write"},
    "reviewer-1": {"review"},
    "reviewer-2": {"review"},
    "reviewer-3": {"review"},
    "admin": {"admin", "read"},
}


class UnknownScope(RatchetError):
    def __init__(self, scope: str, known: tuple[str, ...]) -> None:
        super().__init__(f"there is no scope '{scope}': choose from {', '.join(known)}")


class UnknownKey(RatchetError):
    def __init__(self, key: str, file: Path) -> None:
        super().__init__(
            f"no key has the id or the name '{key}' in {file}: 'ratchet keys list' shows them"
        )


class AmbiguousKey(RatchetError):
    def __init__(self, name: str, ids: list[str]) -> None:
        super().__init__(
            f"{len(ids)} keys are named '{name}': name one by its id ({', '.join(ids)})"
        )


class KeyFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[JsonObject]:
        if not self.path.exists():
            return []
        keys: list[JsonObject] = json.loads(self.path.read_text())["keys"]
        return keys

    def create(
        self, name: str, tenant: str, scopes: set[str], application: str | None = None
    ) -> str:
        """Add a key and return its secret, which is stored nowhere."""
        for scope in sorted(scopes - set(get_args(Scope))):
            raise UnknownScope(scope, get_args(Scope))
        secret, key = new_key(
            name,
            tenant,
            scopes,  # type: ignore[arg-type]  # checked above
            application,
        )
        self._write([*self.all(), key.model_dump(mode="json")])
        return secret

    def revoke(self, key: str) -> str:
        """Remove a key by id, or by name where the name is unique, and return its id.

        Services notice within a second.
        """
        found: str = self._find(key)["id"]
        self._write([entry for entry in self.all() if entry["id"] != found])
        return found

    def rotate(self, key: str) -> tuple[str, str]:
        """Add a key that may what another may, for the same application; return its secret, and
        the id of the other, which is there until it is revoked.
        """
        old = self._find(key)
        secret = self.create(old["name"], old["tenant"], set(old["scopes"]), old.get("application"))
        return secret, old["id"]

    def _find(self, key: str) -> JsonObject:
        matching = [entry for entry in self.all() if key in (entry["id"], entry["name"])]
        if not matching:
            raise UnknownKey(key, self.path)
        if len(matching) > 1:
            raise AmbiguousKey(key, [entry["id"] for entry in matching])
        return matching[0]

    def _write(self, keys: list[JsonObject]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Digests of 256-bit secrets: nothing to hide from the services' user
        write_atomically(self.path, json.dumps({"keys": keys}, indent=1))


def development_credentials(home: Home) -> dict[str, str]:
    """Return one secret per role, made on the first start.

    They are kept in `credentials.json`, readable by its owner alone.
    """
    credentials = home.credentials() if home.keys_file.exists() else {}
    missing = set(DEVELOPMENT) - set(credentials)
    if not missing:
        return credentials
    keys = KeyFile(home.keys_file)
    credentials |= {
        role: keys.create(role, TENANT, DEVELOPMENT[role])
        for role in DEVELOPMENT
        if role in missing
    }
    write_atomically(home.credentials_file, json.dumps(credentials, indent=1), 0o600)
    return credentials
