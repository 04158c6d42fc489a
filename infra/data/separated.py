"""Rows of a text with separators: which separator and which quoting it has, and where it breaks.

A quote that is never closed swallows the rest of a file. Reading goes on in the line after the one
where the quote was opened, so that it costs that row alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from infra.data.losses import DataUnusable, Losses
from infra.data.table import Record, common_width

SEPARATORS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    "\x1f": "unit separators",
    "^": "carets",
    "~": "tildes",
    "，": "full-width commas",
    "；": "full-width semicolons",
    "،": "Arabic commas",
    "؛": "Arabic semicolons",
    "、": "ideographic commas",
    "¦": "broken bars",
}
# Records that decide how the file is written, and the least share of them that must agree.
LOOKED_AT = 1000
AGREEING = 0.5
# Rows with broken quotes, in number and share, from which on quotes may mean something else.
LEAST_BROKEN = 3
BROKEN = 0.1
SEPARATOR_LINE = re.compile(r'^"?sep=(\\t|.)"?\s*$', re.IGNORECASE)
OPEN_QUOTE = "with a quote that is opened and not closed"
LOOSE_QUOTE = "with quotes inside a cell that are not doubled"


@dataclass(frozen=True)
class Spelling:
    """How a file is written."""

    separator: str
    # "doubled" as spreadsheets write a quote in a cell, "single" where ' stands around cells,
    # "escaped" with a backslash, or "none": quotes are characters like others.
    quotes: str

    @property
    def options(self) -> dict[str, Any]:
        if self.quotes == "none":
            return {"quoting": csv.QUOTE_NONE}
        if self.quotes == "single":
            return {"quotechar": "'", "strict": True}
        if self.quotes == "escaped":
            return {"doublequote": False, "escapechar": "\\", "strict": True}
        return {"strict": True}

    @property
    def words(self) -> str:
        name = SEPARATORS.get(self.separator, repr(self.separator))
        return (
            f"separated by {name}"
            + {
                "doubled": "",
                "single": ", in single quotes",
                "escaped": ", quotes escaped by a backslash",
                "none": ", quotes mean nothing",
            }[self.quotes]
        )


def read_separated(
    text: str, separator: str | None, names: tuple[str, ...]
) -> tuple[list[Record], Losses, str]:
    """Return the records, what was lost, and in words how the file is written.

    `names` are the columns that somebody asked for: the spelling that shows them is the right one.
    """
    lines = list(io.StringIO(text, newline=""))
    offset = 0
    declared = ""
    if lines and (first := SEPARATOR_LINE.match(lines[0])):
        declared = first[1].replace("\\t", "\t")
        lines, offset = lines[1:], 1
    spelling = find_spelling(lines, separator or declared, names)
    if spelling is None and declared and not separator:
        spelling = find_spelling(lines, "", names)
    if spelling is None:
        raise DataUnusable(
            "no separator gives rows of two cells or more (tried:"
            f" {repr(separator) if separator else ', '.join(SEPARATORS.values())}): name it with"
            " --separator, or give each message its label in a second column"
        )
    found = list(records(lines, spelling))
    width = common_width(found)
    losses = Losses()
    kept = []
    for record in found:
        if problem := record.problem or wrong_width(record, width):
            losses.add(problem, record.line + offset)
        elif any(cell and cell.strip() for cell in record.cells):
            kept.append(Record(record.line + offset, record.cells))
        else:
            losses.add("blank", record.line + offset)
    return kept, losses, spelling.words


def find_spelling(lines: list[str], separator: str, names: tuple[str, ...]) -> Spelling | None:
    """Return the spelling under which most records have the same number of cells, of two or more.

    None where there is none; of any separator where none is given.
    """
    best: tuple[tuple[bool, float], Spelling] | None = None
    for each in [separator] if separator else SEPARATORS:
        for spelling in spellings(lines, each):
            found = looked_at(lines, spelling)
            width = common_width(found)
            agreeing = sum(not record.problem and len(record.cells) == width for record in found)
            if width < 2 or agreeing < AGREEING * len(found):
                continue
            header = {cell.strip().casefold() for cell in found[0].cells if cell}
            shown = bool(names) and all(name.strip().casefold() in header for name in names)
            # Of equals the first: commas before others, doubled quotes before others.
            score = (shown, round(agreeing / len(found), 2))
            if best is None or score > best[0]:
                best = score, spelling
    return best[1] if best else None


def spellings(lines: list[str], separator: str) -> Iterator[Spelling]:
    """Yield the ways to read quotes: as most files mean them, and others where that breaks often.

    A single broken quote is a mistake in its row, not another way to write the file.
    """
    usual = Spelling(separator, "doubled")
    yield usual
    if any(line.startswith("'") for line in islice(lines, 1)):
        yield Spelling(separator, "single")
    found = looked_at(lines, usual)
    broken = sum(bool(record.problem or record.loose) for record in found)
    if broken >= max(LEAST_BROKEN, BROKEN * len(found)):
        if any('\\"' in line for line in islice(lines, LOOKED_AT)):
            yield Spelling(separator, "escaped")
        yield Spelling(separator, "none")


def looked_at(lines: list[str], spelling: Spelling) -> list[Record]:
    return [
        record
        for record in islice(records(lines, spelling), LOOKED_AT)
        if record.problem or record.cells
    ]


def records(lines: list[str], spelling: Spelling) -> Iterator[Record]:
    """Yield the records with the line each begins on; a broken one costs its first line alone."""
    start = 0
    while start < len(lines):
        rest = (lines[number] for number in range(start, len(lines)))
        reader = csv.reader(
            rest, delimiter=spelling.separator, skipinitialspace=True, **spelling.options
        )
        read = 0
        try:
            for cells in reader:
                line, read = start + read + 1, reader.line_num
                yield Record(line, tuple(map(unwrapped, cells)))
            return
        except csv.Error:
            start += read
            yield literally(lines[start], start + 1, spelling.separator)
            start += 1


def literally(line: str, number: int, separator: str) -> Record:
    """Read one line whose quotes break the rules: as it stands where they are paired."""
    if line.count('"') % 2:
        return Record(number, (), OPEN_QUOTE)
    try:
        cells = next(csv.reader([line], delimiter=separator, quoting=csv.QUOTE_NONE))
    except csv.Error:
        return Record(number, (), OPEN_QUOTE)
    return Record(number, tuple(cells), loose=True)


def unwrapped(cell: str) -> str:
    """Return a cell without the `="…"` by which a spreadsheet keeps zeros in front of a number."""
    return cell[2:-1] if cell.startswith('="') and cell.endswith('"') and len(cell) > 3 else cell


def wrong_width(record: Record, width: int) -> str | None:
    """Return what is wrong with a row whose quotes broke the rules: those of others may differ."""
    return LOOSE_QUOTE if record.loose and len(record.cells) != width else None
