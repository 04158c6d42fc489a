"""Which answers of the reference a window is compared with: those of the same hours of the day, on
weekdays or at weekends (docs/methods.md, section 5).

What people ask changes with the clock. Compared with answers of all hours, the evening is a change
each day: with a mix that swings by 10 % between day and night, 80 to 87 % of streams of 10,000
answers raised an alarm.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

HOURS = 24
# A window is compared as long as this share of it finds its hours in the reference.
LEAST_MATCHED = 0.8
# How the number of answers that it is compared with shrinks where the hours do not hold more.
SHRINK = 0.8


def slot_of(at: float) -> int:
    """Return the hour of the day (UTC), and 24 more at weekends; `at` is seconds since the
    epoch.
    """
    moment = datetime.fromtimestamp(at, UTC)
    return moment.hour + HOURS * (moment.weekday() >= 5)


def beside(slot: int) -> tuple[int, ...]:
    """Return the hours before and after, of the same kind of day first."""
    hour = slot % HOURS
    kind = slot - hour
    near = (kind + (hour - 1) % HOURS, kind + (hour + 1) % HOURS)
    other = HOURS - kind
    # At midnight the kind of day may change.
    return (*near, other + HOURS - 1) if hour == 0 else (*near, other) if hour == 23 else near


def matched(
    reference: Sequence[int], window: Sequence[int], most: int, seed: int = 0
) -> tuple[list[int], list[int]] | None:
    """Return places in the reference and in the window that have the same mix of hours; None where
    the reference does not hold as many as the window.

    Both are given by their slots. Each answer of the window gets as many of the reference as all
    can have, `most` altogether: of its own hour first, else of the hours beside it.
    """
    held: dict[int, list[int]] = defaultdict(list)
    for place in np.random.default_rng(seed).permutation(len(reference)).tolist():
        held[reference[place]].append(place)
    within = Counter(window)
    for slot, count in list(within.items()):
        if sum(len(held[near]) for near in (slot, *beside(slot))) < count:
            del within[slot]
    compared = [place for place, slot in enumerate(window) if slot in within]
    if len(compared) < LEAST_MATCHED * len(window):
        return None
    ratio = most / len(compared)
    while ratio >= 1:
        wanted = {slot: int(count * ratio) for slot, count in within.items()}
        if (found := dealt(held, wanted)) is not None:
            return found, compared
        ratio = max(1.0, SHRINK * ratio) if ratio > 1 else 0.0
    return None


def dealt(held: Mapping[int, Sequence[int]], wanted: dict[int, int]) -> list[int] | None:
    """Deal to each slot as many places as it wants, none twice; None where they do not suffice."""
    left = {slot: list(places) for slot, places in held.items()}
    found: list[int] = []

    def take(slot: int, near: int) -> None:
        pile = left.get(near, [])
        found.extend(pile[: wanted[slot]])
        taken = min(wanted[slot], len(pile))
        wanted[slot] -= taken
        left[near] = pile[taken:]

    for slot in wanted:
        take(slot, slot)
    for slot in wanted:
        for near in beside(slot):
            take(slot, near)
    return None if any(wanted.values()) else found
