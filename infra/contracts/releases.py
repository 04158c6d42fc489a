"""Which schemas each release shipped: schemas/json/released/<version>.json, by digest.

Two releases run side by side while one replaces the other, so each must read what the other writes
(docs/decisions/0002-contracts.md).
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

from infra.contracts.json_schemas import EARLIER, expected
from schemas.base import JsonObject
from shared.errors import RatchetError

RELEASED = "released"
READ_BEFORE_WRITTEN: dict[str, str] = {}
"""What the last release cannot read of today's events, and why nobody writes it yet.

By `<schema>: <field>`.
"""


class ReleaseKept(RatchetError):
    def __init__(self, version: str) -> None:
        super().__init__(
            f"release {version} shipped other schemas than today's: give this one a new version in"
            " pyproject.toml"
        )


class SchemaMissing(RatchetError):
    def __init__(self, version: str, name: str) -> None:
        super().__init__(
            f"release {version} shipped a {name} that is neither current nor in {EARLIER}/: bring"
            " it back from git"
        )


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def releases(folder: Path) -> list[str]:
    """Return the versions that were released, oldest first."""
    return sorted(
        (path.stem for path in (folder / RELEASED).glob("*.json")),
        key=lambda version: [int(part) for part in version.split(".")],
    )


def write_release(folder: Path, version: str) -> list[Path]:
    """Write what this release ships, before it is tagged; raise where it shipped something else."""
    path = folder / RELEASED / f"{version}.json"
    shipped = (
        json.dumps(
            {
                name.removesuffix(".json"): digest(content)
                for name, content in sorted(expected().items())
            },
            indent=2,
        )
        + "\n"
    )
    if path.exists() and path.read_text("utf-8") == shipped:
        return []
    if path.exists():
        raise ReleaseKept(version)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(shipped, "utf-8")
    return [path]


def released(folder: Path, version: str) -> dict[str, JsonObject]:
    """Return the schemas that a release shipped by name, from the current files or kept ones."""
    shipped = json.loads((folder / RELEASED / f"{version}.json").read_text("utf-8"))
    return {name: _schema(folder, version, name, sha256) for name, sha256 in shipped.items()}


def _schema(folder: Path, version: str, name: str, sha256: str) -> JsonObject:
    for path in (folder / f"{name}.json", folder / EARLIER / f"{name}.{sha256[:8]}.json"):
        if path.exists() and digest(content := path.read_text("utf-8")) == sha256:
            schema: JsonObject = json.loads(content)
            return schema
    raise SchemaMissing(version, name)


def version_of_this_code(root: Path) -> str:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    return str(project["project"]["version"])
