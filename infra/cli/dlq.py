"""`ratchet dlq`: what services could not digest, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.letters import chosen, refuse_everything, settle, show_letter, show_letters, wanted
from infra.cli.operations import Database, Servers
from infra.cli.options import DEFAULT_HOME, AsJson, Home

if TYPE_CHECKING:
    from infra.operations.letters import Letter
    from infra.operations.settling import Outcome

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""List, show, replay and drop dead letters: events that a service could not digest.

Their bodies are personal data of your users' users. Only [bold]show --payload[/] prints one.""",
)

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
    home: Home = DEFAULT_HOME,
    servers: Servers = None,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Show the dead letters and what became of each: open, replayed (it was handled since) or
    dropped.

    [dim]$[/] ratchet dlq list
    [dim]$[/] ratchet dlq list --service review --error ValidationError --since 2h
    [dim]$[/] ratchet dlq list --state open --json | jq length
    """
    import json as jsonlib

    letters = chosen(
        home,
        servers,
        database,
        wanted(service, topic, error, ids, since, None if state == "any" else state),
    )
    if json:
        typer.echo(jsonlib.dumps([letter.as_json() for letter in letters], indent=1))
    else:
        show_letters(letters)


@app.command()
def show(
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
    home: Home = DEFAULT_HOME,
    servers: Servers = None,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Print a dead letter's headers, where it came from, and where validation failed. The body only
    with --payload.

    [dim]$[/] ratchet dlq show 01932c5e
    [dim]$[/] ratchet dlq show 01932c5e-7d3a-7c11-9f00-0123456789ab --payload
    """
    import json as jsonlib

    from shared.errors import NotFound

    letters = chosen(home, servers, database, wanted(None, None, None, [event_id], None, None))
    if not letters:
        raise NotFound(
            f"no dead letter begins with '{event_id}': 'ratchet dlq list' shows what there is"
        )
    if json:
        body = [
            {"body": (letter.body or b"").decode("utf-8", "replace")} if payload else {}
            for letter in letters
        ]
        typer.echo(
            jsonlib.dumps(
                [
                    letter.as_json() | {"headers": dict(letter.headers)} | more
                    for letter, more in zip(letters, body, strict=True)
                ],
                indent=1,
            )
        )
        return
    for letter in letters:
        show_letter(letter, payload)


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
    home: Home = DEFAULT_HOME,
    servers: Servers = None,
    database: Database = None,
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
    choice = wanted(service, topic, error, ids, since, "open")
    refuse_everything(choice.everything, every, "replay")

    async def give_back(books: Any, letters: list[Letter]) -> list[Outcome]:
        from infra.cli.operations import servers_of
        from infra.operations.settling import replay as publish_again

        return await publish_again(books, servers_of(home, servers), letters, wait)

    settle(home, servers, database, choice, dry_run, json, give_back, "handled")


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
    home: Home = DEFAULT_HOME,
    servers: Servers = None,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Declare open dead letters unwanted. Their bytes stay in the DLQ topic for as long as it keeps
    them; nobody is asked again.

    [dim]$[/] ratchet dlq drop 01932c5e-7d3a --because "test event of the load test"
    [dim]$[/] ratchet dlq drop --topic feedback-recorded --since 1d --because "client 0.3" --dry-run
    """
    choice = wanted(service, topic, error, ids, since, "open")
    refuse_everything(choice.everything, every, "drop")

    async def give_up(books: Any, letters: list[Letter]) -> list[Outcome]:
        from infra.operations.settling import drop as declare

        return await declare(books, letters, because)

    settle(home, servers, database, choice, dry_run, json, give_up, "dropped")
