"""`ratchet dlq parked`: events that the log refuses, and what to do about them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from infra.cli.console import plain_table, print_json, wide_console
from infra.cli.letters import print_counts
from infra.cli.operations import database_urls
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath
from infra.operations.books import open_books
from infra.operations.names import check_service, find_topic
from infra.operations.parked import (
    RELEASED,
    Act,
    Parked,
    ParkedOutcome,
    dropping,
    parked_events,
    release,
    settle,
)
from shared.errors import Invalid
from shared.events import DROPPED

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""List, release and drop parked events: what a service accepted and the event log refuses.

They wait in the service's outbox, and nothing waits for them. Their bodies are never printed.

[dim]$[/] ratchet dlq parked list
[dim]$[/] ratchet dlq parked release 01932c5e""",
)

Service = Annotated[str | None, typer.Option(help="The service that has them.")]
Topic = Annotated[str | None, typer.Option(help="The topic that refuses them.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Event ids, or how they begin.")]
Every = Annotated[
    bool, typer.Option("--all", help="All that are parked; needed where nothing else chooses.")
]
STYLES = {RELEASED: "green", DROPPED: "magenta"}


@app.command("list")
def list_parked(
    ids: Ids = None,
    service: Service = None,
    topic: Topic = None,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Show which events the log refuses, how large they are, and what it says.

    [dim]$[/] ratchet dlq parked list
    """
    events, _ = asyncio.run(choose(home, database, wanted(service, topic, ids), None))
    if json:
        print_json([event.as_json() for event in events])
    else:
        print_parked(events)


@app.command("release")
def release_parked(
    ids: Ids = None,
    service: Service = None,
    topic: Topic = None,
    every: Every = False,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Send parked events once more: after the topic's limit was raised, say. Exit code 1 unless all
    are on their way. What the log refuses again is parked again.

    On a compacted topic an event is never released past a newer one of its key.

    [dim]$[/] ratchet dlq parked release 01932c5e
    [dim]$[/] ratchet dlq parked release --service router --topic inference-recorded
    """
    refuse_everything(ids, service, topic, every, "release")
    settle_parked(home, database, wanted(service, topic, ids), release, RELEASED, json)


@app.command("drop")
def drop_parked(
    because: Annotated[
        str,
        typer.Option(
            "--because", help="Why nobody wants them; kept on the DLQ topic with your name."
        ),
    ],
    ids: Ids = None,
    service: Service = None,
    topic: Topic = None,
    every: Every = False,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Delete parked events for good, with their bodies.

    [dim]$[/] ratchet dlq parked drop 01932c5e --because "a file pasted into a form"
    """
    refuse_everything(ids, service, topic, every, "drop")
    settle_parked(home, database, wanted(service, topic, ids), dropping(because), DROPPED, json)


Choice = tuple[str | None, str | None, tuple[str, ...]]


def wanted(service: str | None, topic: str | None, ids: list[str] | None) -> Choice:
    if service is not None:
        check_service(service)
    if topic is not None and not topic.endswith("-dlq"):
        find_topic(topic)
    return service, topic, tuple(ids or ())


def refuse_everything(
    ids: list[str] | None, service: str | None, topic: str | None, every: bool, verb: str
) -> None:
    if not (ids or service or topic or every):
        raise Invalid(f"say which: ids, --service or --topic; or --all to {verb} all of them")


async def choose(
    home: Path, database: str | None, choice: Choice, act: Act | None
) -> tuple[list[Parked], list[ParkedOutcome]]:
    """Return the wanted events, and what came of each where something is to be done."""
    async with open_books(database_urls(home, database)) as books:
        events = await parked_events(books, *choice)
        return events, (await settle(books, events, act) if act else [])


def settle_parked(
    home: Path, database: str | None, choice: Choice, act: Act, good: str, json: bool
) -> None:
    events, outcomes = asyncio.run(choose(home, database, choice, act))
    if json:
        print_json([outcome.as_json() for outcome in outcomes])
    elif events:
        print_outcomes(outcomes)
    else:
        print_parked(events)
    if any(outcome.outcome != good for outcome in outcomes):
        raise typer.Exit(1)


def print_parked(events: list[Parked]) -> None:
    console = wide_console()
    if not events:
        console.print("no parked events", style="green")
        return
    table = plain_table("service", "topic", "event", "parked", "bytes", "because")
    for event in events:
        table.add_row(
            event.service,
            event.topic,
            event.event_id,
            event.parked_at.isoformat()[:19],
            f"{event.size:,}",
            Text(event.because),
        )
    console.print(table)
    console.print(f"{len(events)} parked", style="bold")


def print_outcomes(outcomes: list[ParkedOutcome]) -> None:
    console = Console()
    for outcome in outcomes:
        event = outcome.event
        line = Text.assemble(
            f"{event.service}  {event.topic}  {event.event_id}  ",
            (outcome.outcome, STYLES.get(outcome.outcome, "yellow")),
            f"  ({outcome.why})" if outcome.why else "",
        )
        console.print(line, soft_wrap=True)
    print_counts(console, (outcome.outcome for outcome in outcomes))
