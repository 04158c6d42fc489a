"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path, typer.Option(help="Folder that everything local lives in.", envvar="RATCHET_HOME")
]
DEFAULT_HOME = Path(".ratchet")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
