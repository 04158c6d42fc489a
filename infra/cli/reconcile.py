"""`ratchet reconcile`: is anything lost?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.console import plain_table, print_json, progress_bar, wide_console
from infra.cli.operations import (
    database_urls,
    keep_hours,
    servers_if_known,
)
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath, Servers
from infra.operations.accounts import Account, Balance, OnLog
from infra.operations.books import Books, open_books
from infra.operations.reconcile import reconcile as check

SHOWN = 20


def reconcile(
    home: HomePath = DEFAULT_HOME,
    servers: Servers = None,
    database: DatabaseUrl = None,
    read_log: Annotated[
        bool, typer.Option("--log/--no-log", help="Read the topics from end to end, too.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Check the promise over everything: of each topic and consumer, accepted = handled +
    dead-lettered + dropped + pending.

    Reads the services' databases and the event log, also while services are down or traffic goes
    on. What is on none of the four sides is [bold]lost[/]: its ids are printed, and the exit code
    is 1 (2 while the event log is away: then it cannot be told). Sent events are kept for
    OUTBOX_KEEP_HOURS, and only those can be accounted for; how many are older is said.

    [dim]$[/] ratchet reconcile
    [dim]$[/] ratchet reconcile --json | jq '.accounts[] | select(.lost != [])'
    [dim]$[/] RATCHET_DATABASE_URL=postgresql+asyncpg://me@db ratchet reconcile
    """
    balance = asyncio.run(check_balance(home, servers, database, read_log, json))
    if json:
        print_json(balance.as_json())
    else:
        print_balance(balance)
    if not balance.holds:
        raise typer.Exit(2 if balance.undecided and not balance.wrong else 1)


async def check_balance(
    home: Path, servers: str | None, database: str | None, read_log: bool, quiet: bool
) -> Balance:
    log = servers_if_known(home, servers)
    async with open_books(database_urls(home, database)) as books:
        with progress_bar(quiet) as progress:
            bar = progress.add_task("counting", total=None)

            def advance(what: str, rows: int) -> None:
                progress.update(bar, description=what, advance=rows)

            total = await rows_to_read(books)
            progress.update(bar, total=total)
            return await check(books, log, keep_hours(), read_log, advance)


async def rows_to_read(books: Books) -> int:
    """Return how many rows and records there are; the log holds about what the outboxes do."""
    outboxes = [await book.count(book.outbox) for book in books.open.values()]
    return sum(outboxes) * 2 + sum([await book.count(book.inbox) for book in books.open.values()])


def print_balance(balance: Balance) -> None:
    console = wide_console()
    table = plain_table()
    for name in ("topic", "consumer"):
        table.add_column(
            name,
            no_wrap=True,
            min_width=max(len(getattr(found, name)) for found in balance.accounts),
        )
    for name in ("accepted", "handled", "dead", "dropped", "pending", "lost"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    spoken = [account for account in balance.accounts if account.touched]
    for account in spoken:
        table.add_row(*account_row(account))
    console.print(table)
    if quiet := len(balance.accounts) - len(spoken):
        console.print(f"{quiet} more consumers, of topics on which nothing was said", style="dim")
    for line, style in remarks(balance):
        console.print(line, style=style, soft_wrap=True, highlight=False)
    console.print(verdict(balance), highlight=False)


def verdict(balance: Balance) -> str:
    took = f"({balance.seconds:.1f} s)"
    if balance.wrong:
        doubled = sum(map(len, balance.doubled.values()))
        return f"[bold red]✗ {balance.lost} lost, {doubled} doubled[/] {took}"
    if balance.undecided:
        away = f"the event log is away: {balance.undecided} published events are pending or lost"
        return f"[yellow]not known: {away}, which only it can tell[/] {took}"
    return f"[bold green]nothing is lost[/] {took}"


def account_row(account: Account) -> tuple[str, ...]:
    counts = [str(account.outcomes[name] or "") for name in ("handled", "dead-lettered", "dropped")]
    lost = f"[bold red]{len(account.lost)}[/]" if account.lost else "[green]0[/]"
    consumer = account.consumer or "[dim](people)[/]"
    return (
        account.topic,
        consumer,
        str(account.accepted),
        *counts,
        str(account.pending or ""),
        lost if account.consumer else "",
    )


def remarks(balance: Balance) -> Iterator[tuple[str, str]]:
    """Say in words what the table does not hold, each with its style."""
    for account in balance.accounts:
        yield from account_remarks(account, balance.keep_hours)
    for topic, ids in balance.doubled.items():
        if ids:
            yield f"✗ {topic}: accepted twice under one id: {first_ids(ids)}", "red"
    for on_log in balance.log:
        yield from log_remarks(on_log)
    for service in balance.absent:
        yield f"{service} never stored anything here", "dim"


def account_remarks(account: Account, keep_hours: float) -> Iterator[tuple[str, str]]:
    who = f"{account.topic} at {account.consumer or 'people'}"
    strangers = len(account.strangers)
    if account.lost:
        yield f"✗ lost: {who}: {first_ids(account.lost)}", "red"
    if account.unsent:
        yield f"{who}: {account.unsent} of the pending are not yet on the log", "yellow"
    if account.undecided:
        yield f"{who}: {account.undecided} published and not seen by it", "yellow"
    if account.superseded:
        yield (
            (
                f"{who}: {account.superseded} states were replaced by newer ones before they were"
                " read (compacted)"
            ),
            "dim",
        )
    if account.strangers:
        yield (
            f"{who}: {strangers} read that no outbox accounts for: {first_ids(account.strangers)}",
            "yellow",
        )
    if account.older:
        yield f"{who}: {account.older} are older than the outbox is kept ({keep_hours:g} h)", "dim"


def log_remarks(found: OnLog) -> Iterator[tuple[str, str]]:
    if found.vanished:
        again = "the relay sends them again while its service runs"
        yield (
            f"{found.topic}: the log lost {found.vanished} that it had acknowledged; {again}",
            "yellow",
        )
    if found.strangers:
        yield f"{found.topic}: {found.strangers} on the log that no outbox accounts for", "yellow"
    if found.repeated or found.older:
        counts = (
            f"{found.repeated} repeated (absorbed), {found.older} older than the outbox is kept"
        )
        yield f"{found.topic}: {found.records} records on the log, {counts}", "dim"


def first_ids(ids: list[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
