"""The end of a log file, and what is added to it."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import typer

from shared.errors import RatchetError


class NoLog(RatchetError):
    def __init__(self, path: Path) -> None:
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.log")))
        super().__init__(
            f"there is no log of '{path.stem}' in {path.parent}: "
            + (f"choose from {there}" if there else "run 'ratchet up' first")
        )


def tail(path: Path, lines: int, follow: bool) -> None:
    if not path.is_file():
        raise NoLog(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            typer.echo(line, nl=False)
        while follow:
            if added := file.read():
                typer.echo(added, nl=False)
            else:
                time.sleep(0.2)
