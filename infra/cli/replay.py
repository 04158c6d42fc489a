"""`ratchet replay`: read a part of the log once more."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.console import print_json
from infra.cli.operations import servers_of
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath, Servers
from infra.operations.names import check_service
from infra.operations.rewind import rewind, start_of, topics_of

Start = Annotated[
    str,
    typer.Option(
        "--from",
        help="beginning, a time (2h, 2026-11-25T03:00 in UTC) or TOPIC/PARTITION/OFFSET.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say how much would be read again."),
]
Stopped = Annotated[
    bool,
    typer.Option("--stopped", help="It is dead, whatever its groups still list."),
]


def replay(
    service: Annotated[
        str,
        typer.Argument(help="capture, review, dataset-builder, trainer, evaluator, router"),
    ],
    start: Start,
    dry_run: DryRun = False,
    stopped: Stopped = False,
    home: HomePath = DEFAULT_HOME,
    servers: Servers = None,
    json: AsJson = False,
) -> None:
    """Set a stopped service back in the log, so that it reads that part again when it starts.

    Its inbox absorbs what had its effect, and what it had missed takes effect. Nothing is ever set
    forward. Of capture the apps' own topics are among them.

    [dim]$[/] ratchet replay review --from 2h --dry-run
    [dim]$[/] ratchet replay review --from inference-recorded/3/1200
    """
    check_service(service)
    log = servers_of(home, servers)
    topics = topics_of(service, log)
    found = rewind(service, log, topics, start_of(start, topics), dry_run, stopped)
    if json:
        print_json(found)
        return
    reads = "would read" if dry_run else "will read, when it starts,"
    for topic, count in found.items():
        typer.echo(f"{service} {reads} {count} records of {topic} again")
