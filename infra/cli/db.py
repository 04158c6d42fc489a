"""`ratchet db`: the schema of each service's database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra import schema_moves
from infra.cli.console import plain_table, print_json
from infra.cli.operations import database_urls
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath
from infra.local.home import Home
from infra.operations.names import check_service
from infra.schema_moves import Standing

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Show and move the schema of each service's database.",
)
COLOURS = {
    "current": "green",
    "behind": "yellow",
    "before migrations": "yellow",
    "newer": "yellow",
    "away": "red",
}


@app.command()
def status(
    home: HomePath = DEFAULT_HOME, database: DatabaseUrl = None, json: AsJson = False
) -> None:
    """Show at which revision each database is, and which one this code expects. Exit code 1 unless
    all are current, or not there yet.

    [dim]$[/] ratchet db status
    [dim]$[/] ratchet db status --database postgresql+asyncpg://me@localhost
    """
    found = asyncio.run(for_each(schema_moves.standing, database_urls(home, database)))
    print_standings(found, json)
    if any(one.state not in ("current", "not there", "empty") for one in found):
        raise typer.Exit(1)


@app.command()
def upgrade(
    service: Annotated[str | None, typer.Argument(help="One service; all by default.")] = None,
    to: Annotated[
        str | None, typer.Option(help="A revision, for example 0002; the newest by default.")
    ] = None,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
) -> None:
    """Bring databases to the schema of this code. A service does the same when it starts; the last
    release may go on running.

    [dim]$[/] ratchet db upgrade
    [dim]$[/] ratchet db upgrade trainer --to 0002
    """
    urls = {
        name: url
        for name, url in chosen_urls(home, database, service).items()
        if schema_moves.is_there(url)
    }
    print_standings(
        asyncio.run(for_each(lambda name, url: schema_moves.upgrade(name, url, to), urls)), False
    )


@app.command()
def downgrade(
    service: Annotated[str, typer.Argument(help="One service, which must not run.")],
    revision: Annotated[
        str, typer.Argument(help="Where to stop, for example 0001; 'base' empties the database.")
    ],
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a database back to an older schema. Says what is lost, and asks. Needed only to go back
    two releases or more.

    [dim]$[/] ratchet db downgrade trainer 0001
    """
    url = chosen_urls(home, database, service)[service]
    if Home(home).is_running():
        raise schema_moves.InUse(service, f"'ratchet up' in {home}")
    typer.echo(f"{service} goes down to {revision} and loses")
    for loss in asyncio.run(schema_moves.losses(service, url, revision)):
        typer.echo(f"  {loss}")
    if not yes:
        typer.confirm("Go on?", abort=True)
    asyncio.run(schema_moves.downgrade(service, url, revision))
    print_standings([asyncio.run(schema_moves.standing(service, url))], False)


def chosen_urls(home: Path, database: str | None, service: str | None) -> dict[str, str]:
    urls = database_urls(home, database)
    if service is None:
        return urls
    check_service(service)
    return {service: urls[service]}


async def for_each(
    act: Callable[[str, str], Awaitable[Standing]], urls: dict[str, str]
) -> list[Standing]:
    return [await act(service, url) for service, url in urls.items()]


def print_standings(found: list[Standing], json: bool) -> None:
    if json:
        print_json([vars(one) for one in found])
        return
    table = plain_table("service", "revision", "this code", "state", "database")
    for one in found:
        table.add_row(
            one.service,
            one.revision or "-",
            one.head,
            f"[{COLOURS.get(one.state, 'dim')}]{one.state}[/]",
            one.database,
        )
    Console().print(table)
