"""How commands print: tables without frames, JSON for scripts, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

NEEDED_WIDTH = 150


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1))


def plain_table(*columns: str) -> Table:
    """Return an empty table without frames."""
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def wide_console() -> Console:
    """Return a console that cuts no id, also in an 80-column log: a terminal breaks the line."""
    return Console(width=max(Console().width, NEEDED_WIDTH))


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """Show progress on stderr until done; show nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        yield progress
