"""What clients asked for and what they were told: the history that the checker holds against
everything that is stored.

An operation without an answer is `unknown`: it may have happened or not, but not twice. Kept as
JSON lines too, to look at later.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["inference", "feedback", "chat", "verdict", "route"]
Outcome = Literal["unknown", "ok", "failed"]


@dataclass
class Operation:
    """`name` is the client's own id and goes into what is stored; `given` is the id that the
    service answered with.
    """

    kind: Kind
    name: str
    outcome: Outcome = "unknown"
    given: str | None = None
    judgements: tuple[str, ...] = ()  # of feedback: one event for each
    attempts: int = 0
    at: float = field(default_factory=time.time)


class History:
    def __init__(self, path: Path | None = None) -> None:
        self.operations: dict[tuple[str, str], Operation] = {}
        self._file = path.open("a") if path else None

    def __iter__(self) -> Iterator[Operation]:
        return iter(list(self.operations.values()))

    def invoke(self, kind: Kind, name: str, judgements: tuple[str, ...] = ()) -> Operation:
        operation = self.operations.setdefault(
            (kind, name), Operation(kind, name, judgements=judgements)
        )
        operation.attempts += 1
        self._write(operation)
        return operation

    def ok(self, operation: Operation, given: str) -> None:
        if operation.outcome == "ok" and operation.given != given:
            raise AssertionError(
                f"{operation.kind} {operation.name} was answered {operation.given}, now {given}"
            )
        operation.outcome = "ok"
        operation.given = given
        self._write(operation)

    def failed(self, operation: Operation) -> None:
        """Refused for good: nothing may have been stored."""
        operation.outcome = "failed"
        self._write(operation)

    def counts(self) -> dict[str, dict[str, int]]:
        counts: dict[str, Counter[str]] = {}
        for operation in self:
            counts.setdefault(operation.kind, Counter())[operation.outcome] += 1
        return {kind: dict(found) for kind, found in counts.items()}

    def _write(self, operation: Operation) -> None:
        if self._file:
            self._file.write(json.dumps(asdict(operation)) + "\n")
            self._file.flush()
