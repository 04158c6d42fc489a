"""Is this machine fit for Ratchet? Every answer in the negative says what to do next."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


class SetupError(Exception):
    """The message is for the user: what is wrong, then what to do."""


def check_python() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  a user's Python may be older than the project's
        have = ".".join(str(part) for part in sys.version_info[:3])
        raise SetupError(
            f"Ratchet needs Python 3.11 or newer, and this is {have}. Next: make setup"
            " PYTHON=python3.11"
        )
    try:
        import ensurepip  # noqa: F401  Debian leaves it out of python3
    except ImportError:
        raise SetupError(
            "this Python cannot make virtual environments. Next: apt-get install python3-venv"
        ) from None


def check_disk(folder: Path, needed_mb: int) -> None:
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free // 2**20
    if free_mb < needed_mb:
        raise SetupError(
            f"{folder} has {free_mb} MB free and this step needs {needed_mb} MB. Next: free some"
            " space, or point RATCHET_CACHE at another disk (that moves vLLM and the model; .venv"
            " stays in the clone)"
        )


def why_it_does_not_start(program: Path) -> str | None:
    """Ask a program for its version; return what it says instead, None where it starts."""
    try:
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"]
    return said[-1] if asked.returncode else None
