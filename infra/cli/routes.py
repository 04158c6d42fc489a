"""`ratchet routes`: what is served, and by what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console

from infra.cli.client import find_client
from infra.cli.console import print_json
from infra.cli.inspection import summary, undecided_audits
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath
from infra.cli.report import print_routes
from schemas.route import RouteSpec
from shared.errors import RatchetError

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="List, create, show and roll back routes."
)
Name = Annotated[str, typer.Argument(help="tenant/name, as apps write it in 'model'.")]


@app.command("list")
def list_routes(home: HomePath = DEFAULT_HOME, json: AsJson = False) -> None:
    """Show every route and what serves it.

    [dim]$[/] ratchet routes list
    """
    routes = list(find_client(home).items("router", "/v1/routes"))
    if json:
        print_json(routes)
    elif routes:
        print_routes(Console(), [summary(route) for route in routes])
    else:
        typer.echo("no routes yet: ratchet routes create examples/support/route.yaml")


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="YAML of the route.")], home: HomePath = DEFAULT_HOME
) -> None:
    """Create a route from a YAML file, or change it: the same name again updates what it says.

    The file names the route, the task and its labels, a short prompt for the tuned model and the
    best one for the base model, and, if you like, targets, review rate and retraining rule:

      name: acme/support-triage
      task: classification
      labels: \\[billing, refund, delivery]
      system_prompt: Classify the customer's message.
      detailed_prompt: "Answer with one of: {labels}. {label_descriptions}"

    [dim]$[/] ratchet routes create examples/support/route.yaml
    """
    spec = read_route(file)
    # What the file leaves out the router decides: new routes begin otherwise than old ones were.
    sent = spec.model_dump(mode="json", exclude_unset=True)
    route = find_client(home).post("router", "/v1/routes", sent)
    for warning in route.get("warnings", []):
        typer.echo(f"! {warning}", err=True)
    typer.echo(
        f'{spec.name} is at version {route["version"]}; apps ask it with model="{spec.name}"'
    )


@app.command("show")
def show_route(name: Name, home: HomePath = DEFAULT_HOME) -> None:
    """Print a route's whole state: its spec, champion and challenger, and how many audited answers
    wait for a verdict.

    [dim]$[/] ratchet routes show acme/support-triage
    """
    client = find_client(home)
    route = client.get("router", f"/v1/routes/{name}")
    print_json(route | {"undecided_audits": undecided_audits(client, name)})


@app.command()
def rollback(
    name: Name,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help=(
                "An adapter that served before, or 'base'; the one before the champion by default."
            ),
        ),
    ] = None,
    home: HomePath = DEFAULT_HOME,
) -> None:
    """Serve an earlier adapter again, at once.

    [dim]$[/] ratchet routes rollback acme/support-triage
    [dim]$[/] ratchet routes rollback acme/support-triage --to acme--support-triage@3f9c1d2e4b5a
    [dim]$[/] ratchet routes rollback acme/support-triage --to base
    """
    state = find_client(home).post(
        "router", f"/v1/routes/{name}/rollback", {"to": to} if to else {}
    )
    champion = state.get("champion")
    typer.echo(
        f"{name} is at version {state['version']}, served by"
        f" {champion['adapter_id'] if champion else 'the base model'}"
    )


@app.command()
def unfreeze(name: Name, home: HomePath = DEFAULT_HOME) -> None:
    """Let adapters challenge again although a rollback is fresh.

    [dim]$[/] ratchet routes unfreeze acme/support-triage
    """
    state = find_client(home).post("router", f"/v1/routes/{name}/unfreeze", {})
    typer.echo(f"{name} is at version {state['version']}; the next proven adapter may challenge")


def read_route(file: Path) -> RouteSpec:
    """Read a route from YAML; say in one line what is wrong with it."""
    try:
        return RouteSpec.model_validate(yaml.safe_load(file.read_text()))
    except OSError as error:
        raise RatchetError(
            f"{file} cannot be read: {error.strerror}; examples/support/route.yaml is one to begin"
            " with"
        ) from error
    except yaml.YAMLError as error:
        raise RatchetError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors()
        )
        raise RatchetError(f"{file} does not describe a route: {problems}") from error
