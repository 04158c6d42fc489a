"""What the arms have answered so far, kept on disk: a restarted evaluation asks only what was not answered yet."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from schemas.base import Confidence
from services.evaluator.ports import Reply


class FileTranscripts:
    """One file of JSON lines for each job, readable by this service alone; gone when the evaluation is published."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, job_id: str) -> dict[tuple[str, str], Reply]:
        """Replies by (model, row id); a last line that a crash cut short is asked again."""
        path = self._path(job_id)
        replies = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                model, row_id, reply = json.loads(line)
            except ValueError:
                continue
            replies[model, row_id] = Reply(**reply | {"confidence": Confidence(**reply["confidence"])})
        return replies

    def add(self, job_id: str, model: str, row_id: str, reply: Reply) -> None:
        """The newline comes first, so that a line cut short by a crash spoils no other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps([model, row_id, asdict(reply) | {"confidence": reply.confidence.model_dump()}])
        with open(self._path(job_id), "a", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"\n{line}")

    def drop(self, job_id: str) -> None:
        self._path(job_id).unlink(missing_ok=True)

    def _path(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.jsonl"
