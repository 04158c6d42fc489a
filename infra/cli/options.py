"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

HomePath = Annotated[
    Path,
    typer.Option("--home", help="Folder that everything local lives in.", envvar="RATCHET_HOME"),
]
DEFAULT_HOME = Path(".ratchet")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Servers = Annotated[
    str | None,
    typer.Option(
        "--servers",
        envvar="KAFKA_BOOTSTRAP_SERVERS",
        help="The event log; the running system's by default.",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="RATCHET_DATABASE_URL",
        help="The Postgres of the services; their SQLite files in HOME by default.",
    ),
]
