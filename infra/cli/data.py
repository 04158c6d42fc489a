"""`ratchet data`: a look at a file before anything is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.console import print_json
from infra.cli.data_screen import show
from infra.cli.options import AsJson
from infra.cli.reading import (
    DEFAULT_LABELS,
    AnswerColumn,
    Encoding,
    LabelColumn,
    Labels,
    MissingAreLabels,
    Separator,
    TextColumn,
)
from infra.data.reading import Reading
from infra.demo.check import examine

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Look at a file of messages: what is in it, and what Ratchet would do with it.",
)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="CSV, TSV or JSONL; any encoding and separator.")],
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    answer_column: AnswerColumn = None,
    encoding: Encoding = None,
    separator: Separator = None,
    missing_are_labels: MissingAreLabels = False,
    labels: Labels = DEFAULT_LABELS,
    json: AsJson = False,
) -> None:
    """Say in one screen what is in a file of messages with their right answers, and what the demo
    would do with it.

    Nothing is started and nothing is changed. It shows how the file is written, how many rows were
    read and how many skipped, with the reason and the lines of each, the labels, how long the
    messages are, and the command to run next. Exit code 0 when the demo can use the file, 1 when it
    cannot: then it says what to change.

    A file has a row for each message: its text, and its right label

      text;label
      "Where is my parcel?";delivery

    or, for an extraction, its right answer as JSON

      {"text": "Two pounds of tea to Riga", "answer": {"product": "tea", "city": "Riga"}}

    [dim]$[/] ratchet data check messages.csv
    [dim]$[/] ratchet data check export.txt --separator tab --label-column intent
    [dim]$[/] ratchet data check orders.jsonl --answer-column answer --json
    """
    how = Reading(text_column, label_column, answer_column, encoding, separator, missing_are_labels)
    found = examine(file, how, labels)
    if json:
        print_json(found.as_json())
    else:
        show(found)
    raise typer.Exit(0 if found.unusable is None else 1)
