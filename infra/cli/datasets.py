"""`ratchet datasets`: what adapters are trained on."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

import typer

from infra.cli.client import Client, Refused, find_client
from infra.cli.console import plain_table, print_json, wide_console
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Build and list dataset versions.",
)
SHOWN = 60  # characters of a message
ROUTE = re.compile("[a-z0-9-]+/[a-z0-9-]+")
AMBIGUOUS = "ambiguous"
SPLITS = ("train", "validation", "test", "audit")


ReviewAgain = Annotated[
    bool,
    typer.Option(
        "--review-again",
        help="Take these verdicts back: their questions come to reviewers again. Needs a"
        " key with the scopes read, review and admin in RATCHET_API_KEY.",
    ),
]


@app.command()
def build(
    route: Annotated[str, typer.Argument(help="tenant/name")],
    reason: Annotated[
        str,
        typer.Option(help="Kept with the dataset."),
    ] = "asked on the command line",
    accept_losses: Annotated[
        bool,
        typer.Option(
            "--accept-losses",
            help="Also where a filter leaves out more than 30 %: look at 'lost' before.",
        ),
    ] = False,
    home: HomePath = DEFAULT_HOME,
) -> None:
    """Build a dataset of a route's verdicts now, and so train an adapter, without waiting for the
    route's own rule.

    [dim]$[/] ratchet datasets build acme/support-triage --reason "new refund policy"
    """
    command = {"reason": reason, "accept_losses": accept_losses}
    find_client(home).post("dataset-builder", f"/v1/routes/{route}/datasets", command)
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


@app.command()
def lost(
    which: Annotated[
        str, typer.Argument(help="A dataset's id, or tenant/name for the route's last build.")
    ],
    reason: Annotated[
        str | None, typer.Option(help="Only these: ambiguous, audited, unknown_label, ...")
    ] = None,
    review_again: ReviewAgain = False,
    home: HomePath = DEFAULT_HOME,
    json: AsJson = False,
) -> None:
    """Show every verdict that a dataset is not trained on: why, and which review it gave way to.

    With --json one can keep them: whole messages, answers and ids. Those that no majority settles
    go back to the queue by themselves, once. With --review-again they go again, or those of
    --reason.

    [dim]$[/] ratchet datasets lost acme/support-triage --reason ambiguous

    [dim]$[/] ratchet datasets lost acme--support-triage@0123456789ab --json > lost.json

    [dim]$[/] ratchet datasets lost acme/support-triage --reason ambiguous --review-again
    """
    path = path_of(which)
    client = find_client(home)
    if review_again and reason is None:
        reason = AMBIGUOUS
    rows = list(client.items("dataset-builder", path, reason=reason))
    if review_again:
        take_back(client, [row["review_id"] for row in rows])
        return
    if json:
        print_json(rows)
        return
    if not rows:
        typer.echo(f"no verdict of {which} was left out" + (f" as '{reason}'" if reason else ""))
        return
    table = plain_table("review", "reason", "answer", "gave way to", "asked")
    for row in rows:
        asked = row["messages"][-1]["content"] if row["messages"] else ""
        table.add_row(
            row["review_id"], row["reason"], row["answer"], row["twin"] or "", shortened(asked)
        )
    wide_console().print(table)
    reasons = Counter(row["reason"] for row in rows)
    typer.echo(", ".join(f"{count} {name}" for name, count in reasons.most_common()))


@app.command()
def doubts(
    dataset_id: Annotated[str, typer.Argument(help="'ratchet datasets list' shows them.")],
    review_again: ReviewAgain = False,
    home: HomePath = DEFAULT_HOME,
    json: AsJson = False,
) -> None:
    """Show the rows of a dataset whose label all other rows contradict, the most doubtful first.

    They are trained on all the same: some are wrong, some are only unusual.

    [dim]$[/] ratchet datasets doubts acme--support-triage@0123456789ab
    """
    path = path_of(dataset_id, routes_too=False)
    client = find_client(home)
    rows = client.get("dataset-builder", path)["manifest"].get("label_noise", [])
    if review_again:
        take_back(client, [row["review_id"] for row in rows])
    elif json:
        print_json(rows)
    elif rows:
        table = plain_table("review", "label", "others say", "ahead by")
        for row in rows:
            table.add_row(
                row["review_id"], row["label"], row["others_say"], f"{row['ahead_by']:.3f}"
            )
        wide_console().print(table)
    else:
        typer.echo(f"no label of {dataset_id} is in doubt")


def path_of(which: str, routes_too: bool = True) -> str:
    """Return where a dataset is, or what the last build of a route lost. Raises BadParameter."""
    if routes_too and ROUTE.fullmatch(which):
        return f"/v1/routes/{which}/lost"
    if which and "/" not in which:
        return f"/v1/datasets/{which}" + ("/lost" if routes_too else "")
    what = "a dataset's id, as 'ratchet datasets list' shows it"
    raise typer.BadParameter(f"'{which}' is not {what}" + (", nor tenant/name" * routes_too))


def take_back(client: Client, review_ids: list[str]) -> None:
    """Withdraw verdicts, and leave their items to whoever comes; end with 1 where some stay."""
    taken_back = 0
    for review_id in review_ids:
        # the second verdict on an item is ITEM.1
        item = review_id.split(".")[0]
        try:
            client.post("review", f"/v1/items/{item}/undo")
            client.post("review", f"/v1/items/{item}/release")
        except Refused as refused:
            # What this key may not do it may do to none of them.
            if refused.code in (401, 403) and not taken_back:
                raise
            typer.echo(f"{review_id} stays: {refused}", err=True)
        else:
            taken_back += 1
    are = "verdict is" if taken_back == 1 else "verdicts are"
    typer.echo(f"{taken_back} {are} taken back; their questions wait for reviewers")
    if taken_back < len(review_ids):
        raise typer.Exit(1)


def shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


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
    wide_console().print(table)
