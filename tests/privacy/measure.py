"""What a redactor finds in the corpus, and what it takes for personal that is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.privacy.corpus import Line, Marked

Redactor = Callable[[str], str]
# The name of a kind, or zeros in the place of a number of JSON.
PLACEHOLDER = re.compile(r"\[([A-Z]+)\]|(?<=[\s:,\[])[1-9]0{6,}(?=[\s,}\]])")


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
    places = list(PLACEHOLDER.finditer(redacted))
    pattern, at = "", 0
    for place in places:
        pattern += re.escape(redacted[at : place.start()]) + "(.+?)"
        at = place.end()
    match = re.fullmatch(pattern + re.escape(redacted[at:]), text, re.DOTALL)
    if not match:
        raise ValueError(f"{redacted!r} is not {text!r} with parts replaced")
    return [
        Found(place[1] or "number", *match.span(number))
        for number, place in enumerate(places, start=1)
        if match[number] != place[0]
    ]


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
