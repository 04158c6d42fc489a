"""What a redactor finds in the corpus, and what it takes for personal that is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.privacy.corpus import Line, Marked

Redactor = Callable[[str], str]
PLACEHOLDER = re.compile(r"\[([A-Z]+)\]")


@dataclass(frozen=True)
class Found:
    """A stretch that was replaced by the name of a kind."""

    kind: str
    start: int
    end: int

    def overlaps(self, mark: Marked) -> bool:
        return self.start < mark.end and mark.start < self.end


@dataclass
class Score:
    """Counts by kind and language: marks, those that are gone, and what was replaced wrongly."""

    marks: Counter[tuple[str, str]] = field(default_factory=Counter)
    gone: Counter[tuple[str, str]] = field(default_factory=Counter)
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrongly: Counter[tuple[str, str]] = field(default_factory=Counter)
    harmless: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    # What was missed and what was taken: language, line, kind and text.
    missed: list[tuple[str, int, str, str]] = field(default_factory=list)
    taken: list[tuple[str, int, str, str]] = field(default_factory=list)


def found_in(text: str, redacted: str) -> list[Found]:
    """Return what was replaced, from the text before and after; any redactor can be measured so.

    Raises ValueError where more than stretches became placeholders.
    """
    parts = PLACEHOLDER.split(redacted)
    between, kinds = parts[::2], parts[1::2]
    pattern = re.escape(between[0]) + "".join(f"(.+?){re.escape(rest)}" for rest in between[1:])
    match = re.fullmatch(pattern, text, re.DOTALL)
    if not match:
        raise ValueError(f"{redacted!r} is not {text!r} with parts replaced")
    return [Found(kind, *match.span(at)) for at, kind in enumerate(kinds, start=1)]


def score(redactor: Redactor, lines: tuple[Line, ...]) -> Score:
    """Count what a redactor does to these lines.

    A mark is gone when no character of it is left, and harmless text kept when all are.
    """
    total = Score()
    for line in lines:
        found = found_in(line.text, redactor(line.text))
        for mark in line.marks:
            count(total, line, mark, found)
        personal = [mark for mark in line.marks if mark.is_personal]
        for one in found:
            total.replaced[one.kind, line.language] += 1
            if not any(one.overlaps(mark) for mark in personal):
                total.wrongly[one.kind, line.language] += 1
                taken = line.text[one.start : one.end]
                total.taken.append((line.language, line.number, one.kind, taken))
    return total


def count(total: Score, line: Line, mark: Marked, found: list[Found]) -> None:
    if not mark.is_personal:
        total.harmless[line.language] += 1
        total.kept[line.language] += not any(one.overlaps(mark) for one in found)
        return
    place = mark.kind, line.language
    covered = {at for one in found for at in range(one.start, one.end)}
    is_gone = covered.issuperset(range(mark.start, mark.end))
    total.marks[place] += 1
    total.gone[place] += is_gone
    if not is_gone:
        text = line.text[mark.start : mark.end]
        total.missed.append((line.language, line.number, mark.kind, text))
