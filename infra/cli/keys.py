"""`ratchet keys`: who may ask what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra.cli.console import plain_table, print_json
from infra.cli.options import DEFAULT_HOME, AsJson, HomePath
from infra.local.home import Home
from infra.local.keys import KeyFile

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Create, list and revoke API keys."
)
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--file", envvar="RATCHET_KEYS_FILE", help="Keys file; HOME/keys.json by default."
    ),
]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Whose key it is; shown as reviewer and as actor.")],
    tenant: Annotated[str, typer.Option(help="What comes before the slash in its routes.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="infer, capture:write, feedback:write, review, admin or read. May be repeated."
        ),
    ],
    application: Annotated[
        str | None,
        typer.Option(help="Whose ids it sends: unique within it. Its name unless you say another."),
    ] = None,
    home: HomePath = DEFAULT_HOME,
    file: KeysFile = None,
) -> None:
    """Make a key and print its secret, once: only its digest is kept.

    [dim]$[/] ratchet keys create --name checkout --tenant acme --scope infer
    [dim]$[/] ratchet keys create --name ada --tenant acme --scope review --scope read
    """
    typer.echo(key_file(home, file).create(name, tenant, set(scope), application))


@app.command("list")
def list_keys(home: HomePath = DEFAULT_HOME, file: KeysFile = None, json: AsJson = False) -> None:
    """Show the keys: never their secrets, which nobody has kept.

    [dim]$[/] ratchet keys list
    """
    keys = [
        {name: value for name, value in key.items() if name != "sha256"}
        for key in key_file(home, file).all()
    ]
    if json:
        print_json(keys)
        return
    table = plain_table("id", "name", "tenant", "application", "scopes")
    for key in keys:
        application = key.get("application", key["name"])
        scopes = ", ".join(sorted(key["scopes"]))
        table.add_row(key["id"], key["name"], key["tenant"], application, scopes)
    Console().print(table)


@app.command()
def rotate(
    key: Annotated[str, typer.Argument(help="Its id, or its name.")],
    home: HomePath = DEFAULT_HOME,
    file: KeysFile = None,
) -> None:
    """Make a key that takes the place of another, and print its secret: the same name, tenant,
    scopes and application. The old one goes on working until you revoke it.

    [dim]$[/] ratchet keys rotate checkout
    """
    secret, old = key_file(home, file).rotate(key)
    typer.echo(secret)
    typer.echo(f"when nobody uses the old one any more: ratchet keys revoke {old}", err=True)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its name.")],
    home: HomePath = DEFAULT_HOME,
    file: KeysFile = None,
) -> None:
    """Take a key back; the services notice within a second.

    [dim]$[/] ratchet keys revoke key_1f2e3d4c5b6a
    """
    typer.echo(f"revoked {key_file(home, file).revoke(key)}")


def key_file(home: Path, file: Path | None) -> KeyFile:
    return KeyFile(file or Home(home).keys_file)
