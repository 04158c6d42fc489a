"""`ratchet db`: the schema of each service's database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.operations import Database, database_urls, folder
from infra.cli.options import DEFAULT_HOME, AsJson, Home

if TYPE_CHECKING:
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
def status(home: Home = DEFAULT_HOME, database: Database = None, json: AsJson = False) -> None:
    """Show at which revision each database is, and which one this code expects. Exit code 1 unless
    all are current, or not there yet.

    [dim]$[/] ratchet db status
    [dim]$[/] ratchet db status --database postgresql+asyncpg://me@localhost
    """
    from infra.schema_moves import standing

    found = asyncio.run(_each(standing, database_urls(home, database)))
    show(found, json)
    if any(one.state not in ("current", "not there", "empty") for one in found):
        raise typer.Exit(1)


@app.command()
def upgrade(
    service: Annotated[str | None, typer.Argument(help="One service; all by default.")] = None,
    to: Annotated[
        str | None, typer.Option(help="A revision, for example 0002; the newest by default.")
    ] = None,
    home: Home = DEFAULT_HOME,
    database: Database = None,
) -> None:
    """Bring databases to the schema of this code. A service does the same when it starts; the last
    release may go on running.

    [dim]$[/] ratchet db upgrade
    [dim]$[/] ratchet db upgrade trainer --to 0002
    """
    from infra import schema_moves

    urls = {
        name: url
        for name, url in chosen(home, database, service).items()
        if schema_moves.is_there(url)
    }
    show(asyncio.run(_each(lambda name, url: schema_moves.upgrade(name, url, to), urls)), False)


@app.command()
def downgrade(
    service: Annotated[str, typer.Argument(help="One service, which must not run.")],
    revision: Annotated[
        str, typer.Argument(help="Where to stop, for example 0001; 'base' empties the database.")
    ],
    home: Home = DEFAULT_HOME,
    database: Database = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a database back to an older schema. Says what is lost, and asks. Needed only to go back
    two releases or more.

    [dim]$[/] ratchet db downgrade trainer 0001
    """
    from infra import schema_moves

    url = chosen(home, database, service)[service]
    if folder(home).is_running():
        raise schema_moves.InUse(service, f"'ratchet up' in {home}")
    typer.echo(f"{service} goes down to {revision} and loses")
    for loss in asyncio.run(schema_moves.losses(service, url, revision)):
        typer.echo(f"  {loss}")
    if not yes:
        typer.confirm("Go on?", abort=True)
    asyncio.run(schema_moves.downgrade(service, url, revision))
    show([asyncio.run(schema_moves.standing(service, url))], False)


def chosen(home, database: str | None, service: str | None) -> dict[str, str]:  # noqa: ANN001
    from shared.errors import RatchetError

    urls = database_urls(home, database)
    if service and service not in urls:
        raise RatchetError(f"there is no service '{service}': choose from {', '.join(urls)}")
    return {service: urls[service]} if service else urls


async def _each(act, urls: dict[str, str]) -> list[Standing]:  # noqa: ANN001
    return [await act(service, url) for service, url in urls.items()]


def show(found: list[Standing], json: bool) -> None:
    import json as jsonlib

    from rich.console import Console
    from rich.table import Table

    if json:
        typer.echo(jsonlib.dumps([vars(one) for one in found], indent=1))
        return
    table = Table(
        "service",
        "revision",
        "this code",
        "state",
        "database",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for one in found:
        table.add_row(
            one.service,
            one.revision or "-",
            one.head,
            f"[{COLOURS.get(one.state, 'dim')}]{one.state}[/]",
            one.database,
        )
    Console().print(table)
