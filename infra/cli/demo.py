"""`ratchet demo`: the options, and what an exit code means."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.demo.data import bundled, from_csv
from infra.demo.run import Options, run_demo

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="A CSV of labelled messages; the bundled support messages by default."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="The column that holds the message.")] = "text",
    label_column: Annotated[
        str, typer.Option(help="The column that holds its right label.")
    ] = "label",
    late_labels: Annotated[
        str,
        typer.Option(
            help=(
                "Labels that appear only in act 2, separated by commas; else about a third of the"
                " chosen ones."
            )
        ),
    ] = "",
    labels: Annotated[
        int, typer.Option(min=3, help="How many labels to use, the most frequent ones.")
    ] = 10,
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
    appear, drift is detected, a second adapter learns them. Exit code 0 only if both acts succeeded
    by measurement.

    [dim]$[/] ratchet demo
    [dim]$[/] ratchet demo --data messages.csv --label-column intent --late-labels refund,fraud
    """
    late = [label.strip() for label in late_labels.split(",") if label.strip()]
    chosen = (
        from_csv(data, text_column, label_column, late, labels, seed) if data else bundled(seed)
    )
    passed = asyncio.run(
        run_demo(chosen, Options(home.absolute(), port_base, error_rate, seed, stay), Console())
    )
    raise typer.Exit(0 if passed else 1)
