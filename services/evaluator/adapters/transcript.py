"""What the arms have answered so far, kept on disk: a restarted evaluation asks only what was not
answered yet.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from schemas.base import Confidence
from services.evaluator.ports import Reply


class FileTranscripts:
    """One file of JSON lines for each attempt, readable by this service alone; gone when the job is
    over.

    `name` is that of a job's life, and `token` that of the attempt which writes: a worker that was
    taken for dead writes into no file but its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> dict[tuple[str, str], Reply]:
        """Replies by (model, row id), of all attempts; a last line that a crash cut short is asked
        again.
        """
        replies = {}
        for line in (line for path in self._of(name) for line in path.read_text().splitlines()):
            try:
                model, row_id, reply = json.loads(line)
            except ValueError:
                continue
            replies[model, row_id] = Reply(
                **reply | {"confidence": Confidence(**reply["confidence"])}
            )
        return replies

    def add(self, name: str, token: int, model: str, row_id: str, reply: Reply) -> None:
        """The newline comes first, so that a line cut short by a crash spoils no other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps(
            [model, row_id, asdict(reply) | {"confidence": reply.confidence.model_dump()}]
        )
        with open(
            self.folder / f"{name}.{token}.jsonl",
            "a",
            opener=lambda path, flags: os.open(path, flags, 0o600),
        ) as file:
            file.write(f"\n{line}")

    def drop(self, name: str) -> None:
        for path in self._of(name):
            path.unlink(missing_ok=True)

    def names(self) -> set[str]:
        return {
            path.name.removesuffix(".jsonl").rpartition(".")[0]
            for path in self.folder.glob("*.jsonl")
        }

    def _of(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"{name}.*.jsonl"))
