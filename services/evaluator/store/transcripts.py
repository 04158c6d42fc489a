"""What the arms have answered so far, kept on disk: a restarted evaluation asks only what was not
answered yet.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

from schemas.base import Confidence
from shared.rules import RULES, Completion


class TranscriptStore:
    """Keeps one file of JSON lines for each attempt at a job, readable by this service alone.

    `name` is the job run's (`Job.name`) and `token` the attempt's: a worker that lost its lease
    cannot write into its successor's file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> dict[tuple[str, str], Completion]:
        """Return the replies by (model, row id), of all attempts.

        A last line that a crash cut short is left out, so that it is asked again.
        """
        replies = {}
        for line in (line for path in self._of(name) for line in path.read_text().splitlines()):
            try:
                model, row_id, reply = json.loads(line)
            except ValueError:
                continue
            # What was asked for otherwise, before an upgrade, is asked again.
            if reply.pop("rules", None) != RULES:
                continue
            replies[model, row_id] = Completion(
                **reply | {"confidence": Confidence(**reply["confidence"])}
            )
        return replies

    def add(self, name: str, token: int, model: str, row_id: str, reply: Completion) -> None:
        """Append a reply. The newline comes first: a line that a crash cut short spoils no other.

        Only this user can read the file: it holds what models said to users.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = asdict(replace(reply, tokens=()))
        del kept["tokens"]
        kept |= {"confidence": reply.confidence.model_dump(), "rules": RULES}
        line = json.dumps([model, row_id, kept])
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
        """Return the job runs that have a file here."""
        return {
            path.name.removesuffix(".jsonl").rpartition(".")[0]
            for path in self.folder.glob("*.jsonl")
        }

    def _of(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"{name}.*.jsonl"))
