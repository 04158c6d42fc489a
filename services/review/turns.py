"""Whose turn it is: a skipped item comes back to who skipped it, and others get it at once.

For others it keeps its place in the queue. For who skipped it, it stands where an item would that
is queued when the skip is over: behind what is older, and before what is newer. So nothing waits
for ever behind a backlog that never ends, and what nobody can decide does not hold up the rest
(docs/methods.md, 8 reviewers).
"""

from __future__ import annotations

from typing import NamedTuple


class Turn(NamedTuple):
    """A place in the queue; the smaller one is served first. `since` is in seconds since the
    epoch.
    """

    rank: int
    since: float


def skipped_comes_first(skipped: Turn, other: Turn | None, now: float) -> bool:
    """Say whether the item that a reviewer skipped is next, before one that they did not.

    Where nothing else waits for them it comes back early.
    """
    if other is None:
        return True
    return skipped.since <= now and skipped < other
