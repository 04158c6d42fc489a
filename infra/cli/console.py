"""How commands print: tables without frames, JSON for scripts, progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

NEEDED_WIDTH = 150


def print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=1))


def plain_table(*columns: str) -> Table:
    """Return an empty table without frames."""
    return Table(*columns, box=None, header_style="bold", pad_edge=False)


def wide_console() -> Console:
    """Return a console that cuts no id, also in an 80-column log: a terminal breaks the line."""
    return Console(width=max(Console().width, NEEDED_WIDTH))


class Speed(ProgressColumn):
    """Shows how many are done in a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """Show progress on stderr until done; show nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    ) as progress:
        yield progress


@contextmanager
def download_bar() -> Iterator[Callable[[int, int | None], None]]:
    """Yield what to tell the bytes that are here and all bytes; it shows where a terminal is."""
    console = Console(stderr=True)
    columns = (TextColumn("  "), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", visible=False)

        def show(here: int, everything: int | None) -> None:
            progress.update(task, completed=here, total=everything, visible=True)

        yield show
