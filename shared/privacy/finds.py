"""What a rule returns: a stretch of the view, and what it is."""

from __future__ import annotations

import re
from typing import NamedTuple


class Find(NamedTuple):
    """From `start` to before `end` of the view; `kind` is what stands in its place."""

    start: int
    end: int
    kind: str


class Run(NamedTuple):
    """Digits with the separators that people put between them, and where each group of them is."""

    plain: str
    start: int
    end: int
    groups: tuple[tuple[int, int], ...]
    # `plain` with dashes for underscores: 06_12_34_56_78.
    dashed: str


# At most three characters between two digits, as in ") - ". Possessive: the time is linear. What
# may stand before the first digit is looked at afterwards: a search for digits alone is fast. What
# LEAST_DIGITS would refuse for its length is passed over first: most texts have a year or an order.
_RUN = re.compile(r"[0-9](?=[0-9 \n.()/_-]{6})(?:[ \n.()/_-]{0,3}+[0-9])*+")
_GROUP = re.compile(r"[0-9]++")
# No number that is looked for has fewer.
LEAST_DIGITS = 7


def runs_in(plain: str) -> list[Run]:
    """Return the runs that have digits enough to be anything."""
    found = []
    dashed = plain.replace("_", "-")
    for match in _RUN.finditer(plain):
        start, end = match.span()
        if end - start < LEAST_DIGITS:
            continue
        for sign in "(+":
            start -= start > 0 and plain[start - 1] == sign
        groups = tuple(group.span() for group in _GROUP.finditer(plain, start, end))
        if sum(b - a for a, b in groups) >= LEAST_DIGITS:
            found.append(Run(plain, start, end, groups, dashed))
    return found
