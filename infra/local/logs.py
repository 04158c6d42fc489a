"""Where the parts' output goes: a file each, and one coloured stream for all."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Protocol

from rich.console import Console
from rich.text import Text

from infra.local.part import Part
from infra.local.process import Supervised

# Beyond it the file becomes NAME.log.1, and what that held is gone.
MAX_BYTES = 32 * 1024 * 1024
COLOURS = {
    "router": "cyan",
    "capture": "blue",
    "review": "magenta",
    "dataset-builder": "yellow",
    "trainer": "green",
    "evaluator": "bright_blue",
    "broker": "bright_black",
    "vllm-serving": "bright_cyan",
    "vllm-evaluation": "bright_magenta",
}
MARKS = {
    "ready": ("●", "green"),
    "starting": ("○", "dim"),
    "restarting": ("▲", "red"),
    "failed": ("✗", "bold red"),
    "stopped": ("■", "dim"),
}
ALARMS = ("WARNING", "ERROR", "CRITICAL", "Traceback")


class Watcher(Protocol):
    """Hears what the supervised parts say and become."""

    def line(self, part: Part, text: str) -> None: ...
    def change(self, supervised: Supervised) -> None: ...


class LogFiles:
    """Appends to HOME/logs/<part>.log, from start to start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, IO[str]] = {}

    def line(self, part: Part, text: str) -> None:
        file = self._files.get(part.name) or self._open(part.name)
        file.write(f"{text}\n")
        if file.tell() > MAX_BYTES:
            file.close()
            self._path(part.name).replace(self._path(part.name).with_suffix(".log.1"))
            del self._files[part.name]

    def change(self, supervised: Supervised) -> None:
        self.line(
            supervised.part,
            f"--- {supervised.part.name}: {supervised.state} {supervised.detail}".rstrip(),
        )

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _open(self, name: str) -> IO[str]:
        self._files[name] = self._path(name).open("a", buffering=1, encoding="utf-8")
        return self._files[name]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.log"


class LogStream:
    """Prints the stream of `ratchet up`, or with `quiet` only what starts, stops and breaks."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet

    def line(self, part: Part, text: str) -> None:
        if not self.quiet and (not part.chatty or any(alarm in text for alarm in ALARMS)):
            self._print(part.name, Text.from_ansi(text))

    def change(self, supervised: Supervised) -> None:
        if supervised.state not in MARKS:
            return
        mark, style = MARKS[supervised.state]
        self._print(
            supervised.part.name,
            Text(f"{mark} {supervised.state} {supervised.detail}".rstrip(), style=style),
        )
        if supervised.state == "restarting" and (supervised.part.chatty or self.quiet):
            for text in list(supervised.tail)[-8:]:
                self._print(supervised.part.name, Text(text, style="dim"))

    def _print(self, name: str, text: Text) -> None:
        self.console.print(
            Text.assemble((f"{name:>15} ", COLOURS.get(name, "")), ("│ ", "dim"), text),
            soft_wrap=True,
            highlight=False,
        )
