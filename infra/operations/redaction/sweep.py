"""What is left of a value that no row holds any more: in the pages of a SQLite file and its log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url


def sweep(url: str, *, anew: bool) -> bool:
    """Empty the write-ahead log into the database; return False where somebody reads from it.

    `anew`: write the file anew before, which holds up all others for as long as that takes, and
    leaves nothing of rows that were deleted. Postgres does both by itself (autovacuum, checkpoint).
    """
    if make_url(url).get_backend_name() != "sqlite":
        return True
    path = Path(str(make_url(url).database))
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
        if anew:
            db.execute("VACUUM")
        (is_held_up, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_held_up
