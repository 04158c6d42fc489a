"""How far a run came: written after each batch, so that one that was killed goes on there.

Only a convenience: what was gone over twice is what it was. A place that other rules kept, or for
other databases, is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy.engine import make_url

from infra.local.home import write_atomically
from shared import privacy, rules


class Kept(BaseModel):
    """The file: `of` whom it is, the last key of each table, and the contents that were replaced,
    by their place before.
    """

    of: str
    reached: dict[str, list[Any]] = {}
    replaced: list[str] = []


class Place:
    def __init__(self, file: Path, urls: Iterable[str]) -> None:
        self.file = file
        self.kept = self._read(identity(urls))
        self.resumes = bool(self.kept.reached)

    def _read(self, of: str) -> Kept:
        try:
            kept = Kept.model_validate_json(self.file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return Kept(of=of)
        return kept if kept.of == of else Kept(of=of)

    def behind(self, table: str) -> Sequence[Any] | None:
        """Return the last key that was gone over; None where nothing was."""
        return self.kept.reached.get(table)

    def note(self, table: str, key: Sequence[Any], replaced: Iterable[str]) -> None:
        self.kept.reached[table] = list(key)
        self.kept.replaced = sorted({*self.kept.replaced, *replaced})
        self._write()

    def finish(self, *, deleted: bool) -> None:
        """Begin at the beginning the next time; contents that were replaced are remembered until
        they are deleted.
        """
        self.kept.reached.clear()
        if deleted or not self.kept.replaced:
            self.file.unlink(missing_ok=True)
        else:
            self._write()

    def _write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, self.kept.model_dump_json())


def identity(urls: Iterable[str]) -> str:
    """Return a digest of the databases, without their passwords, and of the rules."""
    found = hashlib.sha256()
    for url in urls:
        found.update(make_url(url).render_as_string(hide_password=True).encode())
    for module in (privacy.__file__, rules.__file__, __file__):
        folder = Path(str(module)).parent
        for path in sorted([*folder.glob("*.py"), *folder.glob("*.yaml")]):
            found.update(path.read_bytes())
    return found.hexdigest()
