"""`ratchet consumers`: which consumers are paused, and letting them go on."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from infra.cli.console import plain_table, print_json, wide_console
from infra.cli.operations import database_urls
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath
from infra.operations.books import open_books
from infra.operations.names import check_service, find_topic
from infra.operations.pauses import Pause, paused_consumers
from infra.operations.pauses import resume as let_go_on

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List and resume consumers that paused: our own code failed, or a mapping fits nothing.",
)


@app.command("list")
def list_paused(
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Show every paused consumer: since when, why, and in which version of the code.

    [dim]$[/] ratchet consumers list
    """
    pauses = asyncio.run(find_pauses(database_urls(home, database)))
    if json:
        print_json([pause.as_json() for pause in pauses])
        return
    if not pauses:
        typer.echo("no consumer is paused")
        return
    table = plain_table("service", "topic", "since", "because", "version")
    for pause in pauses:
        since = pause.since.isoformat()[:19]
        table.add_row(pause.service, pause.topic, since, pause.because, pause.version)
    wide_console().print(table)


@app.command()
def resume(
    service: Annotated[str, typer.Argument(help="The service whose consumers are paused.")],
    topic: Annotated[str | None, typer.Argument(help="One topic; all by default.")] = None,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
) -> None:
    """Let paused consumers go on, with the event they stopped at. Exit code 1 if none is paused.

    A release of another version goes on by itself. Fix the cause first, or they pause again.

    [dim]$[/] ratchet consumers resume review
    [dim]$[/] ratchet consumers resume review inference-recorded
    """
    check_service(service)
    # capture reads apps' own topics, too; of those the pause itself is the word.
    if topic and service != "capture":
        find_topic(topic)
    for pause in asyncio.run(resume_in(database_urls(home, database), service, topic)):
        typer.echo(f"{service} goes on reading {pause.topic} within seconds, once it runs")


async def find_pauses(urls: dict[str, str]) -> list[Pause]:
    async with open_books(urls) as books:
        return await paused_consumers(books)


async def resume_in(urls: dict[str, str], service: str, topic: str | None) -> list[Pause]:
    async with open_books(urls) as books:
        return await let_go_on(books, service, topic)
