"""What the operator's commands share: where the databases and the log are, and a progress bar on
stderr.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from infra.local.home import Home

Servers = Annotated[
    str | None,
    typer.Option(
        "--servers",
        envvar="KAFKA_BOOTSTRAP_SERVERS",
        help="The event log; the running system's by default.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="RATCHET_DATABASE_URL",
        help="The Postgres of the services; their SQLite files in HOME by default.",
    ),
]
KEEP_HOURS = 72.0
NEEDED_WIDTH = 150


def database_urls(home: Path, database: str | None) -> dict[str, str]:
    from infra.local.databases import database_urls as urls

    return urls(folder(home), database)


def servers_of(home: Path, servers: str | None) -> str:
    from infra.cli.topics import servers_of as running

    return running(home, servers)


def servers_if_known(home: Path, servers: str | None) -> str | None:
    """None where nothing runs and nobody says where the log is: what only reads can do without."""
    from infra.local.home import NotRunning

    try:
        return servers_of(home, servers)
    except NotRunning:
        return None


def folder(home: Path) -> Home:
    from infra.local.home import Home as Folder

    return Folder(home)


def keep_hours() -> float:
    """As the services read it (shared/settings.py)."""
    return float(os.environ.get("OUTBOX_KEEP_HOURS", KEEP_HOURS))


def wide_console() -> Console:
    """Ids are of use only when whole, also in an 80-column log: a terminal may break our lines, but
    nothing is cut.
    """
    from rich.console import Console

    return Console(width=max(Console().width, NEEDED_WIDTH))


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Any]:
    """A rich progress display, gone when done; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as progress:
        yield progress
