"""`ratchet keys`: who may ask what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.options import DEFAULT_HOME, AsJson, Home

if TYPE_CHECKING:
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
    home: Home = DEFAULT_HOME,
    file: KeysFile = None,
) -> None:
    """Make a key and print its secret, once: only its digest is kept.

    [dim]$[/] ratchet keys create --name checkout --tenant acme --scope infer
    [dim]$[/] ratchet keys create --name ada --tenant acme --scope review --scope read
    """
    typer.echo(key_file(home, file).create(name, tenant, set(scope)))


@app.command("list")
def list_keys(home: Home = DEFAULT_HOME, file: KeysFile = None, json: AsJson = False) -> None:
    """Show the keys: never their secrets, which nobody has kept.

    [dim]$[/] ratchet keys list
    """
    import json as jsonlib

    from rich.console import Console
    from rich.table import Table

    keys = [
        {name: value for name, value in key.items() if name != "sha256"}
        for key in key_file(home, file).all()
    ]
    if json:
        typer.echo(jsonlib.dumps(keys, indent=1))
        return
    table = Table("id", "name", "tenant", "scopes", box=None, header_style="bold", pad_edge=False)
    for key in keys:
        table.add_row(key["id"], key["name"], key["tenant"], ", ".join(sorted(key["scopes"])))
    Console().print(table)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its name.")],
    home: Home = DEFAULT_HOME,
    file: KeysFile = None,
) -> None:
    """Take a key back; the services notice within a second.

    [dim]$[/] ratchet keys revoke key_1f2e3d4c5b6a
    """
    typer.echo(f"revoked {key_file(home, file).revoke(key)}")


def key_file(home: Path, file: Path | None) -> KeyFile:
    from infra.local.home import Home as Folder
    from infra.local.keys import KeyFile

    return KeyFile(file or Folder(home).keys_file)
