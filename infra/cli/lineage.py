"""`ratchet lineage`: from an answer back to the people behind it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from infra.cli.client import find_client
from infra.cli.console import print_json
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath
from infra.cli.tree import lineage_tree
from infra.lineage import gather


def lineage(
    inference_id: Annotated[
        str,
        typer.Argument(
            help=(
                "The answer's id: 'ratchet.inference_id' in its body, x-ratchet-inference-id in its"
                " headers."
            )
        ),
    ],
    rows: Annotated[int, typer.Option(min=0, help="How many training rows to show.")] = 5,
    home: HomePath = DEFAULT_HOME,
    json: AsJson = False,
) -> None:
    """Show where an answer came from: adapter, gate, dataset, training rows and reviewers.

    [dim]$[/] ratchet lineage 01932c5e-7d3a-7c11-9f00-0123456789ab
    [dim]$[/] ratchet lineage 01932c5e-7d3a-7c11-9f00-0123456789ab --rows 20 --json
    """
    facts = gather(find_client(home), inference_id, rows)
    if json:
        print_json(facts)
        return
    Console().print(lineage_tree(facts))
