"""`ratchet demo`: the options, and what an exit code means."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
from infra.data.reading import Reading, read_file
from infra.demo.data import DemoData, bundled
from infra.demo.own import from_file
from infra.demo.run import Options, run_demo

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="A CSV, TSV or JSONL of messages with their right labels or answers, 150 or more;"
            " the bundled support messages by default."
        ),
    ] = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    answer_column: AnswerColumn = None,
    encoding: Encoding = None,
    separator: Separator = None,
    missing_are_labels: MissingAreLabels = False,
    late_labels: Annotated[
        str,
        typer.Option(
            help=(
                "Labels that appear only in act 2, separated by commas; else the rarest third of"
                " those that are used."
            )
        ),
    ] = "",
    labels: Labels = DEFAULT_LABELS,
    error_rate: Annotated[
        float, typer.Option(min=0, max=0.5, help="How often the simulated reviewers are wrong.")
    ] = 0.03,
    seed: Annotated[
        int, typer.Option(help="Order of the messages and mistakes of the reviewers.")
    ] = 7,
    home: Annotated[
        Path, typer.Option(help="Where the demo keeps its state; wiped at the start.")
    ] = Path(".ratchet/demo"),
    port_base: Annotated[int, typer.Option(help="The first port; vLLM is 100 above.")] = 8100,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave everything running at the end.")
    ] = False,
) -> None:
    """Close the loop twice, on real text with a real model, and measure it.

    Starts the event log, six services and vLLM, sends real messages through the official openai
    client, and lets simulated reviewers correct the answers. [bold]Act 1:[/] the base model is
    weak, a first adapter is trained, proven and promoted. [bold]Act 2:[/] new kinds of requests
    appear, drift is detected, a second adapter learns them. Exit code 0 only if every act that was
    told succeeded by measurement.

    With [bold]--data[/] it is told on your own messages, as long as there are rows for: at full
    length with about 1,000, act 1 alone with fewer than 410, two labels, or answers as JSON.
    [bold]ratchet data check FILE[/] says beforehand what it would do.

    [dim]$[/] ratchet demo
    [dim]$[/] ratchet demo --data messages.csv --label-column intent --late-labels refund,fraud
    [dim]$[/] ratchet demo --data orders.jsonl --answer-column answer
    """
    how = Reading(text_column, label_column, answer_column, encoding, separator, missing_are_labels)
    chosen = own_data(data, how, late_labels, labels, seed) if data else bundled(seed)
    passed = asyncio.run(
        run_demo(chosen, Options(home.absolute(), port_base, error_rate, seed, stay), Console())
    )
    raise typer.Exit(0 if passed else 1)


def own_data(path: Path, how: Reading, late_labels: str, labels: int, seed: int) -> DemoData:
    """Read a file for the demo, and say what was read of it and what will be told."""
    read = read_file(path, how)
    typer.echo(
        f"{path}: {read.rows} rows, {len(read.samples)} read, {read.losses.total} skipped"
        + (f": {read.losses.words()}" if read.losses.total else "")
    )
    late = [label.strip() for label in late_labels.split(",") if label.strip()]
    made = from_file(read, late, labels, seed)
    for note in made.notes:
        typer.echo(f"  {note}")
    return made
