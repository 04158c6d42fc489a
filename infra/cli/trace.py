"""`ratchet trace`: where is this event?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from infra.cli.console import print_json, wide_console
from infra.cli.operations import database_urls, keep_hours, servers_if_known
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath, Servers
from infra.operations.books import open_books
from infra.operations.trace import trace as look_up
from schemas.base import JsonObject

STYLES = {
    "handled": "green",
    "published": "green",
    "pending": "yellow",
    "dead-lettered": "red",
    "dropped": "magenta",
    "LOST": "bold red",
}


def trace(
    event_id: Annotated[
        str,
        typer.Argument(help="An event's id; or the id of an inference, for all events about it."),
    ],
    home: HomePath = DEFAULT_HOME,
    servers: Servers = None,
    database: DatabaseUrl = None,
    json: AsJson = False,
) -> None:
    """Show an event's way: accepted, published, consumed by whom, with what effect, and what
    followed.

    Reads the services' databases and the event log, also while services are down. Bodies are not
    shown.

    [dim]$[/] ratchet trace 01932c5e-7d3a-7c11-9f00-0123456789ab
    [dim]$[/] ratchet trace 01932c5e-7d3a-7c11-9f00-0123456789ab --json | jq '.[].consumers'
    """
    found = asyncio.run(find_ways(home, servers, database, event_id))
    if json:
        print_json(found)
        return
    for event in found:
        wide_console().print(way_tree(event), soft_wrap=True)


async def find_ways(
    home: Path, servers: str | None, database: str | None, event_id: str
) -> list[JsonObject]:
    log = servers_if_known(home, servers)
    async with open_books(database_urls(home, database)) as books:
        return await look_up(books, log, event_id, keep_hours())


def way_tree(event: JsonObject) -> Tree:
    tree = Tree(
        Text.assemble(
            (event["type"] or "an event", "bold"), f" {event['event_id']} on {event['topic']}"
        )
    )
    for accepted in event["accepted"]:
        tree.add(f"accepted by {accepted['service']} at {accepted['at']}", highlight=False)
    if not event["accepted"]:
        tree.add(
            "no outbox holds it any more, or it was not made here", style="yellow", highlight=False
        )
    if event["published"]:
        tree.add(Text.assemble(*published_line(event["published"])))
    for consumer in event["consumers"]:
        tree.add(
            Text.assemble(
                f"{consumer['service']}: ",
                (consumer["state"], STYLES.get(consumer["state"], "yellow")),
                consumed_line(consumer),
            )
        )
    if event["followed"]:
        followed = tree.add(
            "followed by (kept events that speak of the same thing)", highlight=False
        )
        for other in event["followed"]:
            followed.add(
                f"{other['at']} {other['type']} {other['event_id']} by {other['service']}",
                highlight=False,
            )
    return tree


def published_line(published: JsonObject) -> list[str | tuple[str, str]]:
    if published["state"] == "pending":
        return [("pending", "yellow"), ": not yet acknowledged by the event log"]
    there = {
        True: "",
        False: "; the log does not hold it there any more",
        None: "; whether the log still holds it was not looked at",
    }
    return [
        ("published", "green"),
        (
            f" at {published['at']}: partition {published['partition']}, offset"
            f" {published['offset']}{there[published['on_log']]}"
        ),
    ]


def consumed_line(consumer: JsonObject) -> str:
    """Say where and when; the effect commits with the inbox's row, so `handled` means both."""
    line = (
        f" at {consumer['at']}, partition {consumer['partition']}, offset {consumer['offset']}"
        if "at" in consumer
        else ""
    )
    line += "; the effect committed with it" if consumer["state"] == "handled" else ""
    failed = (
        f"; failed {consumer['failed_at']}: {consumer['error_type']}: {consumer['error']}"
        if consumer.get("error_type")
        else ""
    )
    return line + failed + (f" ({consumer['why']})" if "why" in consumer else "")
