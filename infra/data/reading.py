"""Reads a file of messages with their right answers, whatever it looks like, and counts it all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.data.answers import NoAnswer, read_answer, schema_of, written
from infra.data.encodings import Text, read_text
from infra.data.json_lines import is_json, parsed, read_json_rows
from infra.data.losses import DataUnusable, Losses
from infra.data.separated import read_separated
from infra.data.sizes import FRAME, TRAINED, about
from infra.data.spelling import MISSING, Merged, visible
from infra.data.table import TOO_SHORT, Chosen, Table, choose, with_header
from schemas.base import JsonObject
from schemas.labels import folded

TOO_LONG_FOR_MODEL = f"longer than the {TRAINED} tokens that the small base model is trained on"
NO_TEXT = "without a message"
NO_LABEL = "without a label"
# As the router takes labels.
LABEL_CHARACTERS = 200
LONG_LABEL = f"with a label of more than {LABEL_CHARACTERS} characters"
SEVERAL = "with several labels in one cell"
NESTED = "whose label is inside JSON: name its place, as in --label-column label.name"
BROKEN = "with bytes that are not UTF-8"
REPEAT = "that repeat a message with the same answer"
OUTVOTED = "whose message has another answer more often"
UNDECIDED = "whose message has several answers, none of them in most rows"
# Share of the values that must be JSON objects for a column to be taken as answers.
JSON_SHARE = 0.8
# A label column in which more than half of the rows have a value of their own holds no labels.
DIFFERENT_SHARE = 0.5


@dataclass(frozen=True)
class Reading:
    """How a file is to be read; what is None is found out."""

    text_column: str | None = None
    label_column: str | None = None
    answer_column: str | None = None
    encoding: str | None = None
    separator: str | None = None
    missing_are_labels: bool = False


@dataclass(frozen=True)
class Sample:
    """A message, and the right answer to it: a label, or JSON."""

    text: str
    answer: str


@dataclass(frozen=True)
class DataFile:
    """What was read from a file. Its samples and its losses together are all of its rows."""

    path: Path
    text: Text
    table: Table
    chosen: Chosen
    task: Literal["classification", "extraction"]
    samples: list[Sample]
    losses: Losses
    # Labels that were spelled in several ways: the one used, and how often each other came.
    merged: dict[str, dict[str, int]]
    # Of an extraction.
    output_schema: JsonObject | None

    @property
    def rows(self) -> int:
        return len(self.samples) + self.losses.total

    def labels(self) -> Counter[str]:
        """Return how many messages each label has, none for an extraction."""
        if self.task == "extraction":
            return Counter()
        return Counter(sample.answer for sample in self.samples)


@dataclass(frozen=True)
class Found:
    line: int
    text: str
    answer: str


def read_file(path: Path, how: Reading) -> DataFile:
    """Read a file. Raises DataUnusable, which says what to change."""
    if how.label_column and how.answer_column:
        raise DataUnusable(
            "--label-column is for labels and --answer-column for answers as JSON: give one of them"
        )
    text = read_text(path, how.encoding)
    names = tuple(each for each in (how.text_column, how.label_column, how.answer_column) if each)
    if is_json(text.text) and not how.separator:
        table = read_json_rows(text.text, names)
    else:
        records, losses, form = read_separated(text.text, one_character(how.separator), names)
        table = with_header(records, losses, form, names)
    chosen = choose(table, how.text_column, how.label_column or how.answer_column)
    extraction = how.answer_column is not None or (
        how.label_column is None and holds_json(table.values(chosen.answer))
    )
    read = list(usable(table, chosen, extraction, how, text))
    merged: dict[str, dict[str, int]] = {}
    schema = None
    if extraction:
        objects = [read_answer(found.answer) for found in read]
        schema = schema_of(objects) if objects else None
        read = [
            Found(found.line, found.text, written(answer, schema or {}))
            for found, answer in zip(read, objects, strict=True)
        ]
    else:
        labels = Merged(found.answer for found in read)
        merged = labels.others
        read = [Found(found.line, found.text, labels[found.answer]) for found in read]
    samples = agreed(read, table.losses)
    data = DataFile(
        path=path,
        text=text,
        table=table,
        chosen=chosen,
        task="extraction" if extraction else "classification",
        samples=samples,
        losses=table.losses,
        merged=merged,
        output_schema=schema,
    )
    refuse_what_is_no_data(data)
    return data


def one_character(separator: str | None) -> str | None:
    """Return the separator that was named, as a character or by its name."""
    if separator is None:
        return None
    named = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|"}
    found = named.get(separator.lower(), separator)
    if len(found) != 1 or found in '"\r\n':
        raise DataUnusable(
            f"--separator takes one character, or tab, comma, semicolon, bar: not '{separator}'"
        )
    return found


def holds_json(values: list[str]) -> bool:
    return bool(values) and sum(map(is_object, values)) >= JSON_SHARE * len(values)


def is_object(cell: str) -> bool:
    try:
        read_answer(cell)
    except NoAnswer:
        return False
    return True


def usable(
    table: Table, chosen: Chosen, extraction: bool, how: Reading, text: Text
) -> Iterator[Found]:
    """Yield the rows with a message and an answer; count the others."""
    broken = "broken" in text.encoding
    for row in table.rows:
        if max(chosen.text, chosen.answer) >= len(row.cells):
            table.losses.add(TOO_SHORT, row.line)
            continue
        message = clean(row.cells[chosen.text] or "")
        answer = row.cells[chosen.answer] or ""
        reason = why_message_unusable(message)
        if broken and "\ufffd" in message + answer:
            reason = BROKEN
        reason = reason or (
            why_answer_unusable(answer)
            if extraction
            else why_label_unusable(answer, how.missing_are_labels)
        )
        if not reason and about(message) + about(answer) + FRAME > TRAINED:
            reason = TOO_LONG_FOR_MODEL
        if reason:
            table.losses.add(reason, row.line)
        else:
            yield Found(row.line, message, answer if extraction else answer.strip())


def clean(text: str) -> str:
    """Return a message without what no database takes (NUL) and no person types."""
    if not text.isprintable():
        text = "".join(each for each in text if each >= " " or each in "\t\n\r")
    return text.strip()


def why_message_unusable(text: str) -> str | None:
    seen = visible(text)
    return NO_TEXT if not seen or seen in MISSING else None


def why_label_unusable(cell: str, missing_are_labels: bool) -> str | None:
    seen = visible(cell)
    if not seen:
        return NO_LABEL
    if seen in MISSING and not missing_are_labels:
        return f"with the label '{seen}', which programs write for none"
    if no_label := why_no_label(seen):
        return no_label
    if len(seen) > LABEL_CHARACTERS:
        return LONG_LABEL
    return None


def why_no_label(cell: str) -> str | None:
    """Return why a cell that is JSON within JSON, or a list of labels, is none."""
    if cell[:1] + cell[-1:] not in {"[]", "{}"}:
        return None
    try:
        found = parsed(cell)
    except (ValueError, RecursionError):
        return None
    if not found:
        return NO_LABEL
    parts = found if isinstance(found, list) else [found]
    nested = any(isinstance(part, list | dict) for part in parts)
    return NESTED if nested else SEVERAL if len(parts) > 1 else None


def why_answer_unusable(cell: str) -> str | None:
    if not cell.strip() or visible(cell) in MISSING:
        return "without an answer"
    try:
        read_answer(cell)
    except NoAnswer as error:
        return str(error)
    return None


def agreed(read: list[Found], losses: Losses) -> list[Sample]:
    """Keep each message once, with the answer that most of its rows give."""
    by_text: dict[str, list[Found]] = defaultdict(list)
    for found in read:
        by_text[folded(found.text)].append(found)
    samples = []
    for group in by_text.values():
        answer, votes = Counter(found.answer for found in group).most_common(1)[0]
        if votes * 2 <= len(group):
            for found in group:
                losses.add(UNDECIDED, found.line)
            continue
        first, *others = [found for found in group if found.answer == answer]
        samples.append(Sample(first.text, answer))
        for found in others:
            losses.add(REPEAT, found.line)
        for found in group:
            if found.answer != answer:
                losses.add(OUTVOTED, found.line)
    return samples


def refuse_what_is_no_data(data: DataFile) -> None:
    """Say in words where nothing is left, or the column of labels holds none."""
    if not data.rows:
        raise DataUnusable(
            f"{data.path} has a header ({', '.join(data.table.columns)}) and no rows below it"
        )
    if not data.samples:
        raise DataUnusable(
            f"{data.path}: of {data.rows} rows none can be used: {data.losses.words()}"
        )
    different = len(data.labels())
    if different > max(20, DIFFERENT_SHARE * len(data.samples)):
        name = data.table.columns[data.chosen.answer]
        raise DataUnusable(
            f"the column '{name}' has {different} different values in {len(data.samples)} rows, so"
            " they are no labels: name the column of the labels with --label-column, or one that"
            " holds answers as JSON with --answer-column"
        )
