"""`ratchet dlq`: what services could not digest, and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from infra.cli import parked
from infra.cli.console import print_json
from infra.cli.letters import print_letter, print_letters, print_outcomes
from infra.cli.operations import database_urls, servers_of
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath, Servers
from infra.operations import settling
from infra.operations.books import Books, open_books
from infra.operations.letters import OPEN, Letter, Wanted, gather
from infra.operations.moments import moment
from infra.operations.settling import Outcome
from shared.errors import Invalid, NotFound

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""List, show, replay and drop dead letters: events that a service could not digest.

Their bodies are personal data of your users' users. Only [bold]show --payload[/] prints one.""",
)
app.add_typer(parked.app, name="parked")
Settle = Callable[[Books, list[Letter]], Awaitable[list[Outcome]]]

Service = Annotated[str | None, typer.Option(help="The service that could not digest them.")]
Topic = Annotated[str | None, typer.Option(help="The topic they came on.")]
Error = Annotated[
    str | None, typer.Option("--error", help="The error's type: ValidationError, say.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Failed since then: 30m, 2h, 3d ago, or 2026-11-25T03:00 (UTC)."),
]
Ids = Annotated[list[str] | None, typer.Argument(help="Event ids, or how they begin.")]
Every = Annotated[
    bool, typer.Option("--all", help="All that are open; needed where nothing else chooses.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]


@app.command("list")
def list_letters(
    ids: Ids = None,
    service: Service = None,
    topic: Topic = None,
    error: Error = None,
    since: Since = None,
    state: Annotated[str, typer.Option(help="open, replayed, dropped, forgotten, or any.")] = "any",
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Show the dead letters and what became of each: open, replayed (it was handled since) or
    dropped.

    [dim]$[/] ratchet dlq list
    [dim]$[/] ratchet dlq list --service review --error ValidationError --since 2h
    [dim]$[/] ratchet dlq list --state open --json | jq length
    """
    choice = wanted(service, topic, error, ids, since, None if state == "any" else state)
    letters, _ = asyncio.run(choose(home, database, choice))
    if json:
        print_json([letter.as_json() for letter in letters])
    else:
        print_letters(letters)


@app.command("show")
def show_letter(
    event_id: Annotated[str, typer.Argument(help="An event's id, or how it begins.")],
    payload: Annotated[
        bool,
        typer.Option(
            "--payload",
            help=(
                "Print the body, too: personal data; mind who looks on and what logs your terminal."
            ),
        ),
    ] = False,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Print a dead letter's headers, where it came from, and where validation failed. The body only
    with --payload.

    [dim]$[/] ratchet dlq show 01932c5e
    [dim]$[/] ratchet dlq show 01932c5e-7d3a-7c11-9f00-0123456789ab --payload
    """
    letters, _ = asyncio.run(choose(home, database, Wanted(ids=(event_id,))))
    if not letters:
        raise NotFound(
            f"no dead letter begins with '{event_id}': 'ratchet dlq list' shows what there is"
        )
    if not json:
        for letter in letters:
            print_letter(letter, payload)
        return
    print_json(
        [
            letter.as_json()
            | {"headers": dict(letter.headers)}
            | ({"body": (letter.body or b"").decode("utf-8", "replace")} if payload else {})
            for letter in letters
        ]
    )


@app.command()
def replay(
    ids: Ids = None,
    service: Service = None,
    topic: Topic = None,
    error: Error = None,
    since: Since = None,
    every: Every = False,
    dry_run: DryRun = False,
    wait: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds to wait for the service; it retries for up to a minute by itself."
        ),
    ] = 60.0,
    home: HomePath = DEFAULT_HOME,
    servers: Servers = None,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Give open dead letters to their service once more, byte for byte, and say what came of each.
    Exit code 1 unless all were handled.

    Fix the cause first, or they come back. Every other service has seen the event and leaves it
    alone.

    [dim]$[/] ratchet dlq replay --service review --error ValidationError --dry-run
    [dim]$[/] ratchet dlq replay 01932c5e-7d3a-7c11-9f00-0123456789ab
    [dim]$[/] ratchet dlq replay --all --wait 120
    """
    choice = wanted(service, topic, error, ids, since, OPEN)
    refuse_everything(choice, every, "replay")

    async def give_back(books: Books, letters: list[Letter]) -> list[Outcome]:
        return await settling.replay(books, servers_of(home, servers), letters, wait)

    settle_letters(home, database, choice, None if dry_run else give_back, "handled", json)


@app.command()
def drop(
    because: Annotated[
        str,
        typer.Option(
            "--because",
            help="Why nobody wants them any more; kept on the DLQ topic with your name.",
        ),
    ],
    ids: Ids = None,
    service: Service = None,
    topic: Topic = None,
    error: Error = None,
    since: Since = None,
    every: Every = False,
    dry_run: DryRun = False,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Declare open dead letters unwanted; nobody is asked again. The service deletes them when they
    are 30 days old.

    [dim]$[/] ratchet dlq drop 01932c5e-7d3a --because "test event of the load test"
    [dim]$[/] ratchet dlq drop --topic feedback-recorded --since 1d --because "client 0.3" --dry-run
    """
    choice = wanted(service, topic, error, ids, since, OPEN)
    refuse_everything(choice, every, "drop")

    async def give_up(books: Books, letters: list[Letter]) -> list[Outcome]:
        return await settling.drop(books, letters, because)

    settle_letters(home, database, choice, None if dry_run else give_up, "dropped", json)


def wanted(
    service: str | None,
    topic: str | None,
    error: str | None,
    ids: list[str] | None,
    since: str | None,
    state: str | None,
) -> Wanted:
    return Wanted(service, topic, error, tuple(ids or ()), moment(since) if since else None, state)


def refuse_everything(choice: Wanted, asked: bool, verb: str) -> None:
    if choice.everything and not asked:
        raise Invalid(
            f"say which: ids, --service, --topic, --error or --since; or --all to {verb} all that"
            " are open"
        )


async def choose(
    home: Path, database: str | None, choice: Wanted, settle: Settle | None = None
) -> tuple[list[Letter], list[Outcome]]:
    """Return the wanted letters, and what came of each where they are to be settled."""
    async with open_books(database_urls(home, database)) as books:
        letters = await gather(books, choice)
        return letters, (await settle(books, letters) if settle and letters else [])


def settle_letters(
    home: Path, database: str | None, choice: Wanted, settle: Settle | None, good: str, json: bool
) -> None:
    """Settle the chosen letters and print what came of each; without `settle`, print them.

    Exits with 1 unless every outcome is `good`.
    """
    letters, outcomes = asyncio.run(choose(home, database, choice, settle))
    if json:
        print_json([one.as_json() for one in (outcomes if settle else letters)])
    elif outcomes:
        print_outcomes(outcomes)
    else:
        print_letters(letters)
    if any(outcome.outcome != good for outcome in outcomes):
        raise typer.Exit(1)
