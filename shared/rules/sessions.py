"""Who asked, as far as an app tells, in a form that may be published."""

from __future__ import annotations

import hashlib


def session_hash(route: str, told: str | None) -> str | None:
    """Return a hash of the session or user that an app told, the same within one route; None where
    it told nothing.
    """
    if not told:
        return None
    return hashlib.sha256(f"{route}\0{told}".encode("utf-8", "replace")).hexdigest()[:16]
