"""The corpus: lines with marks around what is personal, and around what only looks like it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
LANGUAGES = tuple(sorted(path.stem for path in FOLDER.glob("*.txt")))
# What the product says that it finds.
CLAIMED = ("CARD", "EMAIL", "IBAN", "PHONE", "SECRET")
MARK = re.compile(r"<<(?P<kind>[A-Za-z]+):(?P<value>.+?)>>", re.DOTALL)


@dataclass(frozen=True)
class Marked:
    """A stretch of a text, from `start` to before `end`; a kind in capitals is personal."""

    kind: str
    start: int
    end: int

    @property
    def is_personal(self) -> bool:
        return self.kind.isupper()


@dataclass(frozen=True)
class Line:
    """One message as it was sent, and where what stands in it."""

    language: str
    number: int
    text: str
    marks: tuple[Marked, ...]

    @property
    def held_out(self) -> bool:
        """Say whether nobody looked at it while rules were written."""
        return self.number % 2 == 0


@cache
def corpus() -> tuple[Line, ...]:
    """Return all lines, language by language."""
    return tuple(line for language in LANGUAGES for line in lines_of(language))


def lines_of(language: str) -> Iterator[Line]:
    marked = (FOLDER / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(marked, start=1):
        text, marks = unmarked(line.replace("\\n", "\n"))
        yield Line(language, number, text, marks)


def unmarked(marked: str) -> tuple[str, tuple[Marked, ...]]:
    """Return the text without its marks, and where they were."""
    text, marks, at = "", [], 0
    for mark in MARK.finditer(marked):
        text += marked[at : mark.start()]
        marks.append(Marked(mark["kind"], len(text), len(text) + len(mark["value"])))
        text += mark["value"]
        at = mark.end()
    return text + marked[at:], tuple(marks)
