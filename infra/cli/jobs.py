"""`ratchet jobs`: list, stop and repeat trainings, evaluations and dataset builds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.cli.client import Client, Refused, Unreachable, find_client
from infra.cli.console import plain_table, print_json
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath
from infra.cli.report import span
from schemas.base import JsonObject
from shared.errors import RatchetError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="List, show, cancel and retry trainings, evaluations and dataset builds.",
)
SERVICES = ("dataset-builder", "trainer", "evaluator")
STYLES = {"running": "cyan", "finished": "green", "failed": "bold red", "cancelled": "yellow"}
JobId = Annotated[
    str, typer.Argument(help="As 'ratchet jobs list' shows it; its first characters suffice.")
]
Reason = Annotated[str, typer.Option(help="Kept with the job, beside who asked.")]
State = Annotated[
    Literal["queued", "running", "finished", "failed", "cancelled"] | None,
    typer.Option(help="Only those in this state."),
]


@app.command("list")
def list_jobs(
    state: State = None,
    route: Annotated[str | None, typer.Option(help="Only those of this tenant/name.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=200, help="At most so many of each service.")
    ] = 20,
    home: HomePath = DEFAULT_HOME,
    json: AsJson = False,
) -> None:
    """Show what is queued, runs, or ended, newest first, and why a job waits or failed.

    [dim]$[/] ratchet jobs list
    [dim]$[/] ratchet jobs list --state failed --route acme/support-triage
    """
    jobs = sorted(
        known(find_client(home), limit, state=state, route=route),
        key=lambda job: job["created_at"],
        reverse=True,
    )
    if json:
        print_json(jobs)
    elif jobs:
        Console().print(jobs_table(jobs))
    else:
        typer.echo(
            "no such jobs: 'ratchet datasets ready ROUTE' says what the next dataset still needs"
        )


@app.command("show")
def show_job(job_id: JobId, home: HomePath = DEFAULT_HOME, json: AsJson = False) -> None:
    """Show one job, and how each of its attempts ended.

    [dim]$[/] ratchet jobs show 01a210df-207e
    """
    client = find_client(home)
    job = find_job(client, job_id)
    whole = client.get(job["service"], f"/v1/jobs/{job['job_id']}")
    if json:
        print_json(whole)
        return
    console = Console()
    console.print(jobs_table([job]))
    console.print(history_table(whole["history"]))


@app.command()
def cancel(
    job_id: JobId, reason: Reason = "cancelled on the command line", home: HomePath = DEFAULT_HOME
) -> None:
    """Stop a queued or running job. Nothing of it is published from this moment on; its worker
    stops within 3 seconds.

    [dim]$[/] ratchet jobs cancel 01a210df-207e --reason "wrong recipe"
    """
    job = order(home, job_id, "cancel", reason)
    typer.echo(
        f"{job['kind']} {job['job_id']} is cancelled; 'ratchet jobs retry {job['job_id']}' would"
        " start it again from the beginning"
    )


@app.command()
def retry(
    job_id: JobId, reason: Reason = "asked on the command line", home: HomePath = DEFAULT_HOME
) -> None:
    """Queue a failed or cancelled job again, with a fresh count of attempts.

    [dim]$[/] ratchet jobs retry 01a210df-207e --reason "the GPU was replaced"
    """
    job = order(home, job_id, "retry", reason)
    typer.echo(
        f"{job['kind']} {job['job_id']} is queued again: 'ratchet jobs show {job['job_id']}' shows"
        " how it gets on"
    )


def order(home: Path, job_id: str, verb: str, reason: str) -> JsonObject:
    client = find_client(home)
    job = find_job(client, job_id)
    return client.post(job["service"], f"/v1/jobs/{job['job_id']}/{verb}", {"reason": reason})


def known(client: Client, limit: int = 200, **query: str | None) -> Iterator[JsonObject]:
    """Yield the newest jobs of the three services; one that is away is named on stderr."""
    for service in SERVICES:
        try:
            page = client.get(service, "/v1/jobs", limit=limit, **query)
        except Unreachable as away:
            typer.echo(f"✗ {away}", err=True)
            continue
        yield from ({"service": service} | job for job in page["items"])


def find_job(client: Client, beginning: str) -> JsonObject:
    found = [job for job in known(client) if job["job_id"].startswith(beginning)] or list(
        older(client, beginning)
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise RatchetError(
            f"{len(found)} jobs begin with '{beginning}': give more of the id; 'ratchet jobs list'"
            " shows them"
        )
    raise RatchetError(f"there is no job '{beginning}': 'ratchet jobs list' shows those there are")


def older(client: Client, job_id: str) -> Iterator[JsonObject]:
    """Ask each service for the job of a whole id, however old it is."""
    for service in SERVICES:
        with suppress(Refused, Unreachable):
            yield {"service": service} | client.get(service, f"/v1/jobs/{job_id}")


def jobs_table(jobs: list[JsonObject]) -> Table:
    table = plain_table("job", "kind", "route", "state", "attempt", "progress", "age", "why")
    for job in jobs:
        table.add_row(
            job["job_id"],
            job["kind"],
            job["route"],
            Text(job["state"], STYLES.get(job["state"], "default")),
            str(job["attempt"]),
            progress_of(job),
            span(job["age_seconds"] or 0.0),
            Text(job["error"] or "", "dim", no_wrap=True, overflow="ellipsis"),
        )
    return table


def progress_of(job: JsonObject) -> str:
    """Say how many steps or questions are done, and for how long a running job has been silent.

    Of a queued one it says how many of the same tenant come before it.
    """
    if ahead := job.get("ahead"):
        return f"{ahead} ahead"
    progress = job["progress"] or {}
    done = progress.get("step", progress.get("asked"))
    of = progress.get("steps", progress.get("of"))
    silent = job.get("heartbeat_age_seconds") or 0.0
    warning = f" (silent for {silent:.0f} s)" if silent > 10 else ""
    return (f"{done}/{of}" if of else "") + warning


def history_table(history: list[JsonObject]) -> Table:
    table = plain_table("attempt", "began", "ended", "worker", "outcome", "why")
    for entry in history:
        table.add_row(
            str(entry["attempt"] or ""),
            shown_time(entry["began_at"]),
            shown_time(entry["ended_at"]),
            entry["worker"] or "",
            entry["outcome"],
            Text(entry["reason"] or ""),
        )
    return table


def shown_time(moment: str | None) -> str:
    return moment[:19].replace("T", " ") if moment else ""
