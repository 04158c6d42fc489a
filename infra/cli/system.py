"""`ratchet up`, `down`, `status` and `logs`: the system as a whole."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.foreground import run_in_foreground
from infra.cli.inspection import system_status
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath
from infra.cli.report import print_status
from infra.cli.tail import tail
from infra.local.home import Home
from infra.local.plan import LocalConfig
from shared.errors import RatchetError


def up(
    home: HomePath = DEFAULT_HOME,
    port_base: Annotated[
        int,
        typer.Option(help="First port: router at it, the other services after it, vLLM 100 above."),
    ] = 8100,
    base_model: Annotated[
        str | None,
        typer.Option(
            envvar="RATCHET_BASE_MODEL", help="Folder or hub id; SmolLM2-135M-Instruct by default."
        ),
    ] = None,
    vllm: Annotated[
        bool,
        typer.Option("--vllm/--no-vllm", help="Serve the base model and its adapters here, too."),
    ] = True,
    engine: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A vLLM elsewhere, for router and evaluator alike."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Start only this part, and the event log. May be repeated."),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Show only what starts, stops and breaks; logs go to HOME/logs."
        ),
    ] = False,
) -> None:
    """Start everything on this machine, and stop it with Ctrl-C.

    The event log, its topics, six services and two vLLM servers, as one coloured stream of logs.
    What crashes is started again.

    [dim]$[/] ratchet up

    A Kafka that already runs; Postgres instead of SQLite:

    [dim]$[/] KAFKA_BOOTSTRAP_SERVERS=kafka:9092 ratchet up
    [dim]$[/] RATCHET_DATABASE_URL=postgresql+asyncpg://me@localhost ratchet up

    vLLM somewhere else, where the GPU is; or a few parts alone:

    [dim]$[/] ratchet up --engine http://gpu:8000
    [dim]$[/] ROUTER_VLLM_URL=http://a:8000 EVALUATOR_VLLM_URL=http://b:8000 ratchet up --no-vllm
    [dim]$[/] ratchet up --only router --only review
    """
    run_in_foreground(
        LocalConfig(
            home=home,
            port_base=port_base,
            vllm=vllm,
            base_model=base_model,
            engine=engine,
            only=frozenset(only or ()),
        ),
        quiet,
    )


def down(home: HomePath = DEFAULT_HOME) -> None:
    """Stop what `ratchet up` started in this folder, from another terminal.

    [dim]$[/] ratchet down
    [dim]$[/] ratchet down --home /srv/ratchet
    """
    folder = Home(home)
    pid = folder.state()["pid"]
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while folder.is_running():
        if time.monotonic() > deadline:
            raise RatchetError(
                f"process {pid} did not stop within 60 s: 'kill -9 {pid}' ends it and everything it"
                " started"
            )
        time.sleep(0.1)
    typer.echo(f"stopped (process {pid})")


def status(home: HomePath = DEFAULT_HOME, json: AsJson = False) -> None:
    """Show each part and its health, how far the consumers are behind, and what serves each route.
    Exit code 1 unless all is well.

    [dim]$[/] ratchet status
    [dim]$[/] ratchet status --json | jq '.parts[] | select(.state != "ready")'
    """
    found = system_status(Home(home))
    print_status(found, json)
    if not found["ok"]:
        raise typer.Exit(1)


def logs(
    part: Annotated[
        str,
        typer.Argument(
            help=(
                "router, capture, review, dataset-builder, trainer, evaluator, broker,"
                " vllm-serving, vllm-evaluation"
            )
        ),
    ],
    home: HomePath = DEFAULT_HOME,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")
    ] = 50,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as lines are written.")
    ] = False,
) -> None:
    """Print the end of one part's log.

    [dim]$[/] ratchet logs router
    [dim]$[/] ratchet logs trainer -n 200 --follow
    """
    tail(Path(Home(home).logs / f"{part}.log"), lines, follow)
