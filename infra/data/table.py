"""A file as rows of cells, and which of its columns hold the message and its right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from infra.data.losses import DataUnusable, Losses
from infra.data.spelling import is_missing, visible

TEXT_NAMES = (
    "text",
    "message",
    "utterance",
    "question",
    "query",
    "body",
    "content",
    "sentence",
    "input",
    "prompt",
    "user",
    "comment",
    "review",
    "description",
    "request",
    "ticket",
    "mail",
    "email",
    "tweet",
)
LABEL_NAMES = (
    "label",
    "intent",
    "category",
    "class",
    "topic",
    "tag",
    "target",
    "sentiment",
    "queue",
    "department",
    "type",
    "answer",
    "output",
    "completion",
    "assistant",
)
# Rows that show which column is which.
LOOKED_AT = 2000
# A label is said of several messages, and is no sentence.
REPEATED = 3
LABEL_CHARACTERS = 60
NAMES_SHOWN = 12
TOO_SHORT = "with fewer cells than the header"
TOO_LONG = "with more cells than the header: a separator in a text without quotes?"


@dataclass(frozen=True)
class Record:
    """One row of the file; `line` is where it begins there, counted from 1."""

    line: int
    cells: tuple[str | None, ...]
    # Why it cannot be read, or None.
    problem: str | None = None
    # Its quotes broke the rules, and stand in the cells as they are.
    loose: bool = False


@dataclass
class Table:
    """What was read: names of the columns, rows below the header, and what was lost on the way."""

    columns: tuple[str, ...]
    rows: list[Record]
    losses: Losses
    # How it is written, in words.
    form: str
    has_header: bool = True

    def values(self, column: int) -> list[str]:
        """Return the first values of a column, for a look at what it holds."""
        return [
            cell.strip()
            for row in islice(self.rows, LOOKED_AT)
            if column < len(row.cells) and (cell := row.cells[column]) and not is_missing(cell)
        ]


@dataclass(frozen=True)
class Chosen:
    """The two columns that are used, counted from 0."""

    text: int
    answer: int


def with_header(records: list[Record], losses: Losses, form: str, names: tuple[str, ...]) -> Table:
    """Take the first row as the header, unless it looks like the rows below it."""
    records = without_title(records, losses)
    if not records:
        raise DataUnusable(f"no row could be read: {losses.words()}")
    first, rows = records[0], records[1:]
    header = tuple(visible(cell or "") for cell in first.cells)
    if is_data(first, rows, names):
        width = common_width(records)
        numbers = tuple(str(number + 1) for number in range(width))
        return Table(numbers, within(width, records, losses), losses, form, has_header=False)
    kept = []
    for row in within(len(header), rows, losses):
        if repeats_header(row, header):
            losses.add("that repeat the header", row.line)
        else:
            kept.append(row)
    return Table(header, kept, losses, form)


def repeats_header(row: Record, header: tuple[str, ...]) -> bool:
    """Say whether a row is the header again; where two files were joined a byte order mark may
    stand in front of it.
    """
    return (
        len(row.cells) == len(header)
        and visible(row.cells[-1] or "") == header[-1]
        and all(visible(cell or "") == name for cell, name in zip(row.cells, header, strict=True))
    )


def within(width: int, records: list[Record], losses: Losses) -> list[Record]:
    """Leave out rows that are longer than the others; empty cells at their end do not matter."""
    kept = []
    for record in records:
        if any(record.cells[width:]):
            losses.add(TOO_LONG, record.line)
        else:
            kept.append(record)
    return kept


def common_width(found: list[Record]) -> int:
    widths = Counter(len(record.cells) for record in found if record.cells)
    return widths.most_common(1)[0][0] if widths else 0


def without_title(records: list[Record], losses: Losses) -> list[Record]:
    """Leave out lines of one cell above the header: the title of an export."""
    for number, record in enumerate(records):
        if sum(bool(cell and cell.strip()) for cell in record.cells) > 1:
            return records[number:]
        losses.add("above the header", record.line)
    return []


def is_data(first: Record, rows: list[Record], names: tuple[str, ...]) -> bool:
    """Say whether the first row is a message like the others: one of its values comes again in the
    same column, which a header's never does.
    """
    header = {visible(cell or "").casefold() for cell in first.cells}
    if header & {*TEXT_NAMES, *LABEL_NAMES, *(visible(name).casefold() for name in names)}:
        return False
    again = [row for row in rows if row.cells != first.cells]
    return any(
        cell and any(place < len(row.cells) and row.cells[place] == cell for row in again)
        for place, cell in enumerate(first.cells)
    )


def choose(table: Table, text: str | None, answer: str | None) -> Chosen:
    """Return the columns that were named, or else those whose names and values show what they
    are.
    """
    if len(table.columns) < 2:
        raise DataUnusable(
            f"there is one column, '{table.columns[0]}', and two are needed: the message, and its"
            " label or answer"
        )
    answer_at = None if answer is None else find(table, answer, "--label-column")
    text_at = text_column(table, answer_at) if text is None else find(table, text, "--text-column")
    if answer_at is None:
        answer_at = answer_column(table, text_at)
    if text_at == answer_at:
        raise DataUnusable(
            f"the column '{table.columns[text_at]}' cannot be both the message and its answer:"
            f" {_columns(table)}"
        )
    return Chosen(text_at, answer_at)


def find(table: Table, name: str, option: str) -> int:
    """Return the column of this name, or of this number, counted from 1."""
    wanted = visible(name)
    kinds: tuple[Callable[[str], bool], ...] = (
        lambda column: column == wanted,
        lambda column: column.casefold() == wanted.casefold(),
    )
    for matches in kinds:
        places = [place for place, column in enumerate(table.columns) if matches(column)]
        if places:
            return the_only(places, name, option)
    if wanted.isdecimal() and 1 <= int(wanted) <= len(table.columns):
        return int(wanted) - 1
    raise DataUnusable(f"there is no column '{name}': {_columns(table)}")


def the_only(places: list[int], name: str, option: str) -> int:
    if len(places) > 1:
        numbers = " and ".join(str(place + 1) for place in places)
        raise DataUnusable(
            f"{len(places)} columns are named '{name}' (numbers {numbers}): say which by its"
            f" number, e.g. {option} {places[-1] + 1}"
        )
    return places[0]


def text_column(table: Table, answer: int | None) -> int:
    """Return the column of a usual name, else the one with the longest different values."""
    places = [place for place in range(len(table.columns)) if place != answer]
    if (place := by_name(table, TEXT_NAMES, places)) is not None:
        return place

    def length(place: int) -> float:
        values = table.values(place)
        return sum(map(len, set(values))) / max(1, len(values))

    return max(places, key=length)


def answer_column(table: Table, text: int) -> int:
    """Return the column of a usual name, else the only one whose values come again and again."""
    places = [place for place in range(len(table.columns)) if place != text]
    if (place := by_name(table, LABEL_NAMES, places)) is not None:
        return place
    if len(places) == 1:
        return places[0]
    likely = [place for place in places if looks_like_labels(table.values(place))]
    if len(likely) == 1:
        return likely[0]
    raise DataUnusable(
        f"which column holds the label is not clear: name it with --label-column; {_columns(table)}"
    )


def by_name(table: Table, names: tuple[str, ...], places: list[int]) -> int | None:
    for name in names:
        found = [place for place in places if table.columns[place].casefold() == name]
        if found:
            option = "--label-column" if names is LABEL_NAMES else "--text-column"
            return the_only(found, name, option)
    return None


def looks_like_labels(values: list[str]) -> bool:
    counts = Counter(values)
    return (
        len(counts) > 1
        and len(values) >= REPEATED * len(counts)
        and max(map(len, counts)) <= LABEL_CHARACTERS
    )


def _columns(table: Table) -> str:
    if not table.has_header:
        return f"the file has no header, so its columns have the numbers 1 to {len(table.columns)}"
    shown = ", ".join(f"'{name}'" for name in table.columns[:NAMES_SHOWN])
    more = len(table.columns) - NAMES_SHOWN
    return f"its columns are {shown}" + (f" and {more} more" if more > 0 else "")
