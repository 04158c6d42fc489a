"""`ratchet topics`: the event log's topics, as schemas/topics.py maps them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from infra.cli.console import plain_table, print_json
from infra.cli.operations import servers_of
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath, Servers
from infra.operations.names import find_topic
from infra.topics import describe as describe_all
from infra.topics import provision

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Create, list and describe the topics of the event log.",
)


@app.command()
def create(
    home: HomePath = DEFAULT_HOME,
    servers: Servers = None,
    replication_factor: Annotated[
        int, typer.Option(min=1, envvar="KAFKA_REPLICATION_FACTOR", help="3 in production.")
    ] = 1,
) -> None:
    """Create what is missing; as often as you like. Partitions grow and never shrink.

    [dim]$[/] ratchet topics create
    [dim]$[/] ratchet topics create --servers kafka:9092 --replication-factor 3
    """
    done = provision(servers_of(home, servers), replication_factor)
    for name in done.created:
        typer.echo(f"created {name}")
    for name in done.grown:
        typer.echo(f"grew {name}")
    if not (done.created or done.grown):
        typer.echo("every topic is there")


@app.command("list")
def list_topics(
    home: HomePath = DEFAULT_HOME, servers: Servers = None, json: AsJson = False
) -> None:
    """Show each topic, its partitions and how many events it keeps.

    [dim]$[/] ratchet topics list
    """
    found = describe_all(servers_of(home, servers))
    if json:
        print_json(found)
        return
    table = plain_table("topic", "partitions", "events", "")
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
    found = find_topic(topic)
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
