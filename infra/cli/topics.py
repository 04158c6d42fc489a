"""`ratchet topics`: the event log's topics, as schemas/topics.py maps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.cli.options import DEFAULT_HOME, AsJson, Home

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Create, list and describe the topics of the event log.",
)
Servers = Annotated[
    str | None,
    typer.Option(
        "--servers", envvar="KAFKA_BOOTSTRAP_SERVERS", help="The running system's by default."
    ),
]


@app.command()
def create(
    home: Home = DEFAULT_HOME,
    servers: Servers = None,
    replication_factor: Annotated[
        int, typer.Option(min=1, envvar="KAFKA_REPLICATION_FACTOR", help="3 in production.")
    ] = 1,
) -> None:
    """Create what is missing; as often as you like. Partitions grow and never shrink.

    [dim]$[/] ratchet topics create
    [dim]$[/] ratchet topics create --servers kafka:9092 --replication-factor 3
    """
    from infra.topics import provision

    done = provision(servers_of(home, servers), replication_factor)
    for name in done.created:
        typer.echo(f"created {name}")
    for name in done.grown:
        typer.echo(f"grew {name}")
    if not (done.created or done.grown):
        typer.echo("every topic is there")


@app.command("list")
def list_topics(home: Home = DEFAULT_HOME, servers: Servers = None, json: AsJson = False) -> None:
    """Show each topic, its partitions and how many events it keeps.

    [dim]$[/] ratchet topics list
    """
    import json as jsonlib

    from rich.console import Console
    from rich.table import Table

    from infra.topics import describe as describe_all

    found = describe_all(servers_of(home, servers))
    if json:
        typer.echo(jsonlib.dumps(found, indent=1))
        return
    table = Table(
        "topic", "partitions", "events", "", box=None, header_style="bold", pad_edge=False
    )
    for topic in found:
        count = f"{topic['partitions']}" if topic["partitions"] else "[red]missing[/]"
        table.add_row(
            topic["topic"], count, str(topic["events"]), "compacted" if topic["compacted"] else ""
        )
    Console().print(table)


@app.command()
def describe(topic: Annotated[str, typer.Argument(help="A topic's name.")]) -> None:
    """Say what a topic carries, from whom, to whom. Needs no running system.

    [dim]$[/] ratchet topics describe adapter-evaluated
    """
    from schemas.topics import TOPICS
    from shared.errors import RatchetError

    found = next((entry for entry in TOPICS if entry.name == topic), None)
    if found is None:
        raise RatchetError(
            f"no event travels on '{topic}': choose from"
            f" {', '.join(entry.name for entry in TOPICS)}"
        )
    typer.echo(f"{found.name}: {found.event.__doc__}")
    typer.echo(f"  from       {', '.join(found.producers)}")
    typer.echo(f"  to         {', '.join(found.consumers) or 'whoever watches'}")
    typer.echo(f"  key        {found.key}")
    typer.echo(f"  partitions {found.partitions}{', compacted' if found.compacted else ''}")
    for name, field in found.event.model_fields.items():
        typer.echo(
            f"    {name}{'' if field.is_required() else ' (optional)'}"
            f"{f': {field.description}' if field.description else ''}"
        )


def servers_of(home: Path, servers: str | None) -> str:
    from infra.local.home import Home as Folder

    return servers or Folder(home).state()["kafka"]
