"""Where the operator's commands find the services' databases and the event log."""

from __future__ import annotations

import os
from pathlib import Path

from infra.local import databases
from infra.local.home import Home, NotRunning

# As shared/settings.py has it.
KEEP_HOURS = 72.0


def database_urls(home: Path, database: str | None) -> dict[str, str]:
    return databases.database_urls(Home(home), database)


def servers_of(home: Path, servers: str | None) -> str:
    """Return where the event log is: as asked, else the running system's."""
    return servers or Home(home).state()["kafka"]


def servers_if_known(home: Path, servers: str | None) -> str | None:
    """Return None where nothing runs and nobody says where the log is: reading does without it."""
    try:
        return servers_of(home, servers)
    except NotRunning:
        return None


def keep_hours() -> float:
    """Return how long the services keep what they sent, from their own setting."""
    return float(os.environ.get("OUTBOX_KEEP_HOURS", KEEP_HOURS))
