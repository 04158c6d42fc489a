"""`ratchet datasets`: what adapters are trained on."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from infra.cli.client import find_client
from infra.cli.console import plain_table, print_json
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Build and list dataset versions.",
)
SPLITS = ("train", "validation", "test", "audit")


@app.command()
def build(
    route: Annotated[str, typer.Argument(help="tenant/name")],
    reason: Annotated[
        str,
        typer.Option(help="Kept with the dataset."),
    ] = "asked on the command line",
    home: HomePath = DEFAULT_HOME,
) -> None:
    """Build a dataset of a route's verdicts now, and so train an adapter, without waiting for the
    route's own rule.

    [dim]$[/] ratchet datasets build acme/support-triage --reason "new refund policy"
    """
    find_client(home).post("dataset-builder", f"/v1/routes/{route}/datasets", {"reason": reason})
    typer.echo(
        f"a dataset of {route} is being built: 'ratchet datasets list {route}' shows it when it is,"
        f" or 'ratchet datasets ready {route}' why not"
    )


@app.command()
def ready(
    route: Annotated[str, typer.Argument(help="tenant/name")],
    home: HomePath = DEFAULT_HOME,
) -> None:
    """Print how many verdicts a route's next dataset still needs, and why the last build was
    refused.

    [dim]$[/] ratchet datasets ready acme/support-triage
    """
    print_json(find_client(home).get("dataset-builder", f"/v1/routes/{route}/readiness"))


@app.command("list")
def list_datasets(
    route: Annotated[str | None, typer.Argument(help="tenant/name; all routes by default.")] = None,
    home: HomePath = DEFAULT_HOME,
    json: AsJson = False,
) -> None:
    """Show the dataset versions, newest first.

    [dim]$[/] ratchet datasets list acme/support-triage
    """
    datasets = list(find_client(home).items("dataset-builder", "/v1/datasets", route=route))
    if json:
        print_json(datasets)
        return
    table = plain_table("dataset", *SPLITS, "because")
    for dataset in datasets:
        rows = dataset.get("rows", {})
        table.add_row(
            dataset["dataset_id"],
            *(str(rows.get(split, "")) for split in SPLITS),
            dataset.get("because", ""),
        )
    Console().print(table)
