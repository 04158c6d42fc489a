"""`ratchet replay`: does a service's state follow from the log? And: read a part of the log once
more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.cli.operations import Database, Servers
from infra.cli.options import DEFAULT_HOME, AsJson, Home

if TYPE_CHECKING:
    from infra.operations.compare import Compared
    from infra.operations.proof import Proof

SHOWN = 5


START = "beginning; with --redeliver also a time (2h, 2026-11-25T03:00) or TOPIC/PARTITION/OFFSET."
Start = Annotated[str, typer.Option("--from", help=START)]
Redeliver = Annotated[
    bool, typer.Option("--redeliver", help="Set a stopped service back to there; proves nothing.")
]
Stopped = Annotated[
    bool,
    typer.Option("--stopped", help="With --redeliver: it is dead, whatever its groups still list."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="With --redeliver: only say how much would be read again.")
]


def replay(
    service: Annotated[
        str, typer.Argument(help="capture, review, dataset-builder, trainer, evaluator, router")
    ],
    start: Start = "beginning",
    redeliver: Redeliver = False,
    dry_run: DryRun = False,
    stopped: Stopped = False,
    home: Home = DEFAULT_HOME,
    servers: Servers = None,
    database: Database = None,
    json: AsJson = False,
) -> None:
    """Rebuild a service's state from the log and prove it equal, table by table. Exit code 1 when
    it differs or cannot be proven.

    A scratch database, the service's own handlers, and all that it has read so far, in the order it
    read it; nothing is published, no job is done, and the live database is only read. Which tables
    and columns are compared, and why the others are not, is printed; of rows that differ, only the
    keys.

    [dim]$[/] ratchet replay dataset-builder
    [dim]$[/] ratchet replay review --from beginning --json | jq '.tables[] | {table, same, equal}'

    [bold]--redeliver[/] does something else: the consumer groups of a [bold]stopped[/] service are
    set back, and it reads that part of the log again when it starts. Its inbox absorbs what had its
    effect; what it had missed, takes effect.

    [dim]$[/] ratchet replay review --redeliver --from 2h --dry-run
    [dim]$[/] ratchet replay review --redeliver --from inference-recorded/3/1200
    """
    import json as jsonlib

    check_service(service)
    if redeliver:
        found = set_back(service, start, servers, home, dry_run, stopped)
        typer.echo(jsonlib.dumps(found, indent=1) if json else told(service, found, dry_run))
        return
    proof = proven(service, start, servers, database, home, json)
    typer.echo(jsonlib.dumps(proof.as_json(), indent=1)) if json else show(proof)
    if not proof.proven:
        raise typer.Exit(1)


def check_service(service: str) -> None:
    from infra.operations.letters import Wanted

    Wanted(service=service)


def set_back(
    service: str, start: str, servers: str | None, home: Any, dry_run: bool, stopped: bool
) -> dict[str, int]:
    from infra.cli.operations import servers_of
    from infra.operations.rewind import rewind, start_of

    return rewind(service, servers_of(home, servers), start_of(start, service), dry_run, stopped)


def told(service: str, again: dict[str, int], dry_run: bool) -> str:
    would = "would read" if dry_run else "will read, when it starts,"
    return "\n".join(
        f"{service} {would} {count} events of {topic} again" for topic, count in again.items()
    )


def proven(
    service: str, start: str, servers: str | None, database: str | None, home: Any, quiet: bool
) -> Proof:
    import asyncio

    from infra.cli.operations import database_urls, folder, progress_bar, servers_of
    from infra.operations.proof import prove
    from shared.errors import Invalid

    if start != "beginning":
        raise Invalid(
            "a state is proven from the beginning of the log or not at all; to read a later part"
            " once more, add --redeliver"
        )
    url = database_urls(home, database)[service]
    log = servers_of(home, servers)
    with progress_bar(quiet) as progress:
        bar = progress.add_task(f"feeding {service}", total=None)
        return asyncio.run(
            prove(
                service,
                url,
                log,
                folder(home),
                lambda fed, of: progress.update(bar, completed=fed, total=of),
            )
        )


def show(proof: Proof) -> None:
    from rich.table import Table

    from infra.cli.operations import wide_console

    console = wide_console()
    table = Table("table", box=None, header_style="bold", pad_edge=False)
    for name in ("live", "rebuilt", "equal", "differ", "only live", "only rebuilt"):
        table.add_column(name, justify="right")
    for found in proof.tables:
        counts = (
            found.live,
            found.rebuilt,
            found.equal,
            len(found.differ),
            len(found.only_live),
            len(found.only_rebuilt),
        )
        shown = f"[{'green' if found.same else 'red'}]{found.derived.name}[/]"
        table.add_row(shown, *(str(count or "") for count in counts))
    console.print(table)
    for line, style in remarks(proof):
        console.print(line, style=style, soft_wrap=True, highlight=False)
    console.print(*verdict(proof), highlight=False)


def verdict(proof: Proof) -> tuple[str, ...]:
    took = f"{proof.events} events, {proof.seconds:.1f} s"
    if proof.proven:
        return (
            f"[bold green]proven: the state of {proof.service} follows from the log[/] ({took})",
        )
    if proof.equal:
        return (
            (
                "[yellow]not proven: the tables are equal, but the log has forgotten its"
                f" beginning[/] ({took})"
            ),
        )
    return (f"[bold red]✗ the state of {proof.service} does not follow from the log[/] ({took})",)


def remarks(proof: Proof) -> Iterator[tuple[str, str]]:
    for table in proof.tables:
        yield from table_remarks(table)
    for name, why in proof.others.items():
        copied = " (copied, for the handlers read it)" if name in proof.seeds else ""
        yield f"not compared: {name}: {why}{copied}", "dim"
    for topic, count in proof.forgotten.items():
        yield (
            (
                f"{topic}: the log has forgotten its first {count} events; rows from them are only"
                " live"
            ),
            "yellow",
        )
    if proof.skipped:
        yield (
            (
                f"{proof.skipped} events are dead letters or were dropped: they had no effect and"
                " were not fed"
            ),
            "dim",
        )
    if proof.failed:
        yield (
            (
                f"✗ {proof.failed} events that {proof.service} once handled cannot be handled by"
                " this release"
            ),
            "red",
        )


def table_remarks(found: Compared) -> Iterator[tuple[str, str]]:
    name = found.derived.name
    derived = found.derived
    for word, keys in (
        ("differ", found.differ),
        ("only live", found.only_live),
        ("only rebuilt", found.only_rebuilt),
    ):
        if keys:
            more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
            yield f"✗ {name}: {word}: {', '.join(keys[:SHOWN])}{more}", "red"
    left_out = [f"compared {', '.join(derived.columns)}"]
    left_out += [f"without {derived.without}"] if derived.without else []
    left_out += [f"{found.settled} rows left out"] if found.settled else []
    left_out += [f"{found.forgotten} rows forgotten ({derived.forgets})"] if found.forgotten else []
    live, rebuilt = (fingerprint[:16] for fingerprint in found.fingerprints)
    yield (
        (
            f"{name}:"
            " "
            + "; ".join([*left_out, f"sha256 of the sorted rows {live} live, {rebuilt} rebuilt"])
        ),
        "dim",
    )
