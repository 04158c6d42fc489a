"""Dead letters on a terminal: choosing, settling and showing them for `ratchet dlq`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from infra.operations.letters import Letter
    from infra.operations.settling import Outcome

STYLES = {
    "open": "red",
    "replayed": "green",
    "handled": "green",
    "dropped": "magenta",
    "pending": "yellow",
    "dead-lettered again": "red",
}


def wanted(
    service: str | None,
    topic: str | None,
    error: str | None,
    ids: list[str] | None,
    since: str | None,
    state: str | None,
) -> Any:
    from infra.operations.letters import Wanted
    from infra.operations.moments import moment

    return Wanted(service, topic, error, tuple(ids or ()), moment(since) if since else None, state)


def refuse_everything(everything: bool, asked: bool, verb: str) -> None:
    from shared.errors import Invalid

    if everything and not asked:
        raise Invalid(
            f"say which: ids, --service, --topic, --error or --since; or --all to {verb} all that"
            " are open"
        )


def chosen(home: Any, servers: str | None, database: str | None, choice: Any) -> list[Letter]:
    import asyncio

    async def gathered() -> list[Letter]:
        from infra.cli.operations import database_urls
        from infra.operations.books import open_books

        async with open_books(database_urls(home, database)) as books:
            return await letters_of(books, home, servers, choice)

    return asyncio.run(gathered())


async def letters_of(books: Any, home: Any, servers: str | None, choice: Any) -> list[Letter]:
    """Also while the event log is away: what the outboxes keep is most of it."""
    from infra.cli.operations import servers_if_known
    from infra.operations.letters import gather
    from infra.operations.log import survey_if_there
    from schemas.topics import dead_letter_topic

    log = servers_if_known(home, servers)
    seen = await survey_if_there(log, [dead_letter_topic(name) for name in choice.services])
    if seen is None:
        typer.echo(
            "the event log is away: dead letters older than the outboxes keep are not shown",
            err=True,
        )
    return await gather(books, log, choice, seen)


def settle(
    home: Any,
    servers: str | None,
    database: str | None,
    choice: Any,
    dry_run: bool,
    json: bool,
    act: Callable[[Any, list[Letter]], Awaitable[list[Outcome]]],
    good: str,
) -> None:
    """Choose, then act unless it is a dry run, then report; exit code 1 unless every outcome is
    good.
    """
    import asyncio
    import json as jsonlib

    async def run() -> tuple[list[Letter], list[Outcome]]:
        from infra.cli.operations import database_urls
        from infra.operations.books import open_books

        async with open_books(database_urls(home, database)) as books:
            letters = await letters_of(books, home, servers, choice)
            return letters, ([] if dry_run or not letters else await act(books, letters))

    letters, outcomes = asyncio.run(run())
    if json:
        typer.echo(
            jsonlib.dumps([one.as_json() for one in (letters if dry_run else outcomes)], indent=1)
        )
    elif dry_run or not letters:
        show_letters(letters)
    else:
        show_outcomes(outcomes)
    if any(outcome.outcome != good for outcome in outcomes):
        raise typer.Exit(1)


def show_letters(letters: list[Letter]) -> None:
    from collections import Counter

    from rich.table import Table

    from infra.cli.operations import wide_console

    console = wide_console()
    if not letters:
        console.print("no dead letters", style="green")
        return
    table = Table(
        "service",
        "topic",
        "event",
        "failed",
        "error",
        "state",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for letter in letters:
        times = f" ×{letter.times}" if letter.times > 1 else ""
        table.add_row(
            letter.service,
            letter.topic,
            letter.event_id,
            (letter.headers.get("x-failed-at") or "")[:19],
            letter.error_type + times,
            f"[{STYLES.get(letter.state, 'default')}]{letter.state}[/]",
        )
    console.print(table)
    counts = Counter(letter.state for letter in letters)
    console.print(
        ", ".join(f"{count} {state}" for state, count in counts.most_common()), style="bold"
    )


def show_outcomes(outcomes: list[Outcome]) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.text import Text

    console = Console()
    for outcome in outcomes:
        name = f"{outcome.letter.service}  {outcome.letter.topic}  {outcome.letter.event_id}  "
        why = f"  ({outcome.why})" if outcome.why else ""
        console.print(
            Text.assemble(name, (outcome.outcome, STYLES.get(outcome.outcome, "yellow")), why),
            soft_wrap=True,
        )
    counts = Counter(outcome.outcome for outcome in outcomes)
    console.print(
        ", ".join(f"{count} {what}" for what, count in counts.most_common()), style="bold"
    )


def show_letter(letter: Letter, payload: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    lines = [
        ("event", letter.event_id),
        ("service", letter.service),
        ("state", letter.state),
        ("from", f"{letter.topic}/{letter.partition}/{letter.offset}"),
        (
            "failed",
            (
                f"{letter.headers.get('x-failed-at')},"
                f" {'once' if letter.times == 1 else f'{letter.times} times'}, last after"
                f" {letter.headers.get('x-attempts')} attempts"
            ),
        ),
        ("error", letter.error_type),
        ("where", letter.error),
        ("kept in", letter.kept_in),
        ("size", f"{len(letter.body or b'')} bytes"),
    ]
    for name, value in lines:
        console.print(Text.assemble((f"{name:8} ", "bold"), value), soft_wrap=True)
    for name, value in sorted(letter.original_headers.items()):
        console.print(Text.assemble((f"  {name}: ", "dim"), value), soft_wrap=True)
    if payload:
        console.print(Text((letter.body or b"").decode("utf-8", "replace")), soft_wrap=True)
    else:
        console.print("the body is personal data: --payload prints it", style="dim")
