"""`ratchet capture`: what capture would make of the topics of apps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from infra.cli.console import plain_table, print_json, wide_console
from infra.cli.operations import servers_of
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath, Servers
from infra.operations.capture_map import made_of, mappings_in, newest
from schemas.base import JsonObject

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Try what capture would make of an app's own topic.",
)
SHOWN_CHARACTERS = 60


@app.callback()
def capture() -> None:
    """Try what capture would make of an app's own topic."""


@app.command("map")
def try_mapping(
    file: Annotated[Path, typer.Argument(help="A mapping, or a folder of them: CAPTURE_SOURCES.")],
    sample: Annotated[
        int, typer.Option(min=1, max=2000, help="How many of the newest records to read.")
    ] = 20,
    home: HomePath = DEFAULT_HOME,
    servers: Servers = None,
    json: AsJson = False,
) -> None:
    """Show what a mapping makes of the newest records of its topic, and why it makes nothing of
    others. Reads without committing and stores nothing; texts are redacted. Exit code 1 where
    something would not be taken.

    [dim]$[/] ratchet capture map sources/shop.yaml
    [dim]$[/] ratchet capture map sources --sample 1000 --json | jq .reasons
    """
    found = [
        report(mapping, made_of(file, sampled))
        for mapping in mappings_in(file)
        if (sampled := asyncio.run(newest(servers_of(home, servers), mapping["topic"], sample)))
    ]
    if json:
        print_json(found)
    else:
        for one in found:
            print_report(one)
    if any(one["refused"] for one in found):
        raise typer.Exit(1)


def report(mapping: JsonObject, made: Sequence[JsonObject]) -> JsonObject:
    refused = [one for one in made if "reason" in one]
    left_out = Counter(
        f"{each['field']}: {each['reason']}" for one in made for each in one.get("left_out", ())
    )
    return {
        "topic": mapping["topic"],
        "route": mapping["route"],
        "records": len(made),
        "taken": len(made) - len(refused),
        "refused": len(refused),
        "reasons": dict(Counter(one["reason"] for one in refused).most_common()),
        "left_out": dict(left_out.most_common()),
        "made": list(made),
    }


def print_report(found: JsonObject) -> None:
    console = wide_console()
    console.print(Text(f"{found['topic']} as {found['route']}", "bold"))
    taken = [one for one in found["made"] if "reason" not in one]
    names = [name for name in (taken[0] if taken else {}) if name not in ("topic", "left_out")]
    table = plain_table(*names)
    for one in taken:
        table.add_row(*(Text(one_line(one.get(name))) for name in names))
    if taken:
        console.print(table)
    print_counts(console, "refused", found["reasons"])
    print_counts(console, "left out", found["left_out"])
    console.print(
        f"{found['records']} records: {found['taken']} would be taken, {found['refused']} not",
        style="bold",
    )


def print_counts(console: Console, what: str, counted: dict[str, int]) -> None:
    for reason, times in counted.items():
        console.print(Text(f"{what} {times} ×  {reason}", "yellow"), soft_wrap=True)


def one_line(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
