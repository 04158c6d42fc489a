"""`ratchet redact`: what older releases stored, with the rules of this one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from infra.cli.console import plain_table, print_json, progress_bar, wide_console
from infra.cli.operations import database_urls
from infra.cli.options import DEFAULT_HOME, AsJson, DatabaseUrl, HomePath
from infra.local.home import Home
from infra.operations.redaction import (
    Contents,
    Found,
    Place,
    Run,
    Stale,
    StaleFile,
    stale_datasets,
    stale_files,
    sweep,
)
from schemas.base import JsonObject

PLACE = "redact.json"
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what would be redacted.")]
Artifacts = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        envvar="ARTIFACTS_URL",
        help="Where the services keep contents and datasets; HOME/artifacts by default.",
    ),
]
DeleteContents = Annotated[
    bool,
    typer.Option(
        "--delete-contents",
        help="Delete large contents that are stored redacted now. First let 'ratchet reconcile'"
        " say that nothing is pending: an event under way may still refer to one.",
    ),
]


@dataclass(frozen=True)
class Outcome:
    """What a run did, or would do."""

    found: Found
    stale: list[Stale]
    files: list[StaleFile]
    rows: int
    seconds: float
    resumed: bool
    # Contents that stand under another digest now, and whether the old ones are gone.
    replaced: list[str]
    deleted: bool
    unreadable_contents: list[str]
    # Services in whose write-ahead log old pages are left, since somebody reads from it.
    held_up: list[str]

    def as_json(self) -> JsonObject:
        return {
            "columns": [
                {"service": service, "table": table, "column": column, "kind": kind, "finds": finds}
                for (service, table, column, kind), finds in sorted(self.found.finds.items())
            ],
            "rows_changed": dotted(self.found.rows),
            "unreadable": dotted(self.found.unreadable),
            "unreadable_contents": self.unreadable_contents,
            "replaced_contents": self.replaced,
            "deleted_contents": self.deleted,
            "datasets": [vars(one) for one in self.stale],
            "files": [vars(one) for one in self.files],
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
            "held_up": self.held_up,
        }


def dotted(counts: dict[tuple[str, ...], int]) -> dict[str, int]:
    return {".".join(name): count for name, count in sorted(counts.items())}


def redact(
    dry_run: DryRun = False,
    delete_contents: DeleteContents = False,
    home: HomePath = DEFAULT_HOME,
    database: DatabaseUrl = None,
    artifacts: Artifacts = None,
    json: AsJson = False,
) -> None:
    """Go over what older releases stored with the rules of redaction of this one.

    Reads every column that may hold what people wrote, in all services' databases, and changes
    what the rules find today. Services of this release may run meanwhile; stop those of an older
    one. Killed, it goes on where it was when it is started again. What an older release said on
    the event log and nobody has read yet comes into the databases later: run it again then. A run
    that finds nothing says so.

    Datasets are not changed: those that hold finds are listed, with the adapters trained on them.

    [dim]$[/] ratchet redact --dry-run     # count, by service, table, column and kind
    [dim]$[/] ratchet redact
    [dim]$[/] ratchet redact --json | jq '.datasets[].dataset_id'
    """
    outcome = asyncio.run(
        go_over(
            Home(home),
            database_urls(home, database),
            artifacts or f"file://{Home(home).path}/artifacts",
            dry_run=dry_run,
            delete_contents=delete_contents,
            quiet=json,
        )
    )
    if json:
        print_json(outcome.as_json())
    else:
        print_outcome(outcome, dry_run)


async def go_over(
    home: Home,
    urls: dict[str, str],
    artifacts: str,
    *,
    dry_run: bool,
    delete_contents: bool,
    quiet: bool,
) -> Outcome:
    place = None if dry_run else Place(home.path / PLACE, urls.values())
    resumed = place is not None and place.resumes
    contents = Contents(artifacts, write=not dry_run)
    began = time.monotonic()
    rows = 0
    with progress_bar(quiet) as shown:
        bar = shown.add_task("counting", total=None)

        def progress(what: str, looked_at: int) -> None:
            nonlocal rows
            rows += looked_at
            shown.update(bar, description=what, advance=looked_at)

        run = Run(urls, contents, place, progress)
        await run.check()
        shown.update(bar, total=await run.count())
        found = await run.go()
        stale = await stale_datasets(urls, run.cleaner, progress)
        files = await stale_files(urls, run.cleaner)
    held_up: list[str] = []
    replaced = sorted({*contents.moved} - contents.needed)
    if place:
        place.kept.replaced = [uri for uri in place.kept.replaced if uri not in contents.needed]
        # What went before the run was killed, and is needed as it is by another route, is unknown.
        delete_contents &= not (resumed and any(run.cleaner.chosen.values()))
        if delete_contents:
            contents.delete(place.kept.replaced)
        anew = not home.is_running()
        held_up = [name for name, url in run.urls.items() if not sweep(url, anew=anew)]
        replaced = place.kept.replaced
        place.finish(deleted=delete_contents)
    seconds = time.monotonic() - began
    unreadable = sorted(contents.unreadable)
    return Outcome(
        found, stale, files, rows, seconds, resumed, replaced, delete_contents, unreadable, held_up
    )


def print_outcome(outcome: Outcome, dry_run: bool) -> None:
    console = wide_console()
    found = outcome.found
    if found.finds:
        table = plain_table("service", "table", "column", "kind", "finds")
        for (*where, kind), finds in sorted(found.finds.items()):
            table.add_row(*where, kind, str(finds))
        console.print(table)
    for line in remarks(outcome):
        console.print(line, style="yellow", soft_wrap=True, highlight=False)
    changed = sum(found.rows.values())
    what = "values that would be changed" if dry_run else "values changed"
    speed = outcome.rows / max(outcome.seconds, 0.001)
    took = f"{outcome.rows} rows in {outcome.seconds:.1f} s, {speed:,.0f} a second"
    went_on = "; went on where the run before was ended" if outcome.resumed else ""
    said = f"{what}: {changed}" if changed else "[green]nothing to redact[/]"
    console.print(f"{said} ({took}{went_on})", highlight=False)


def remarks(outcome: Outcome) -> Iterable[str]:
    for name, count in dotted(outcome.found.unreadable).items():
        yield f"{name}: {count} cannot be read and were left as they are"
    for uri in outcome.unreadable_contents:
        yield f"{uri} is missing, was changed, or lies outside of --artifacts"
    for uri in outcome.replaced:
        yield (
            f"{uri} was replaced and deleted"
            if outcome.deleted
            else f"{uri} holds finds; its place is taken by another: see --delete-contents"
        )
    for service in outcome.held_up:
        yield f"{service}: its write-ahead log keeps old pages until its readers are done"
    for one in outcome.stale:
        yield from of_dataset(one)
    for file in outcome.files:
        finds = finds_of(file.finds)
        yield f"{file.of} of {file.route}: {finds} ({file.uri}); it is not changed"


def of_dataset(one: Stale) -> Iterable[str]:
    yield f"dataset {one.dataset_id}: {finds_of(one.finds)} ({one.uri})"
    if one.missing:
        yield f"  missing or changed: {', '.join(one.missing)}"
    for adapter in one.adapters:
        yield f"  trained on it: {adapter}"
    for report in one.reports:
        yield f"  shows rows of it: {report}"
    yield f"  it is not changed: 'ratchet datasets build {one.route}' makes a clean one"


def finds_of(finds: Mapping[str, int]) -> str:
    """Return what was found in words, or that nothing could be read."""
    return ", ".join(f"{n} {kind}" for kind, n in sorted(finds.items())) or "cannot be read"
