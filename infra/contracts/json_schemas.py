"""JSON Schemas of the events, from the pydantic models; what a change replaces is kept."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from schemas.base import Event, JsonObject
from schemas.events import EVENTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EARLIER = "earlier"


def schema_of(event: type[Event]) -> JsonObject:
    schema: JsonObject = tolerant(event.model_json_schema(mode="validation"))
    return {
        "$schema": DIALECT,
        "$id": f"{event.schema_name()}.json",
        "x-topic": event.topic_name(),
    } | schema


def tolerant(schema: Any) -> Any:
    """Allow further fields everywhere, since consumers ignore what they do not know."""
    if isinstance(schema, dict):
        return {
            key: unwrapped(value) if key == "description" else tolerant(value)
            for key, value in schema.items()
            if not (key == "additionalProperties" and value is False)
        }
    return [tolerant(item) for item in schema] if isinstance(schema, list) else schema


def unwrapped(description: Any) -> Any:
    """Join the lines of each paragraph: where a docstring breaks them is no part of a contract."""
    # A property of that name.
    if not isinstance(description, str):
        return tolerant(description)
    return "\n\n".join(" ".join(part.split()) for part in description.split("\n\n"))


def rendered(schema: JsonObject) -> str:
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def expected() -> dict[str, str]:
    """Return the content of each event's file by its name."""
    return {f"{event.schema_name()}.json": rendered(schema_of(event)) for event in EVENTS}


def write_schemas(folder: Path) -> list[Path]:
    """Write what differs; the committed version of a schema that changes moves to `earlier/`."""
    written = []
    for name, content in expected().items():
        path = folder / name
        if path.exists() and path.read_text("utf-8") == content:
            continue
        if (before := committed(path)) and before != content:
            written.append(keep(folder / EARLIER, path.stem, before))
        path.write_text(content, "utf-8")
        written.append(path)
    return written


def keep(folder: Path, stem: str, content: str) -> Path:
    path = folder / f"{stem}.{hashlib.sha256(content.encode()).hexdigest()[:8]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return path


def committed(path: Path) -> str | None:
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, text=True
    )
    return shown.stdout if shown.returncode == 0 else None


def earlier_versions(folder: Path, event: type[Event]) -> dict[str, JsonObject]:
    """Return every committed version of this event's schema, the present one included."""
    paths = [
        folder / f"{event.schema_name()}.json",
        *sorted((folder / EARLIER).glob(f"{event.schema_name()}.*.json")),
    ]
    return {path.name: json.loads(path.read_text("utf-8")) for path in paths if path.exists()}
