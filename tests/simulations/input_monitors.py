"""Input monitors: they keep still while what people ask goes by the clock, and find what is new.

`alarms` takes the steps of `services/evaluator/windows.py` without its database, by the same
functions; `tests/unit/evaluator/test_windows.py` proves that it raises the same alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.evaluator.drift import BUCKETS, OF_LAST, Sample, compare, sustained
from services.evaluator.matching import matched, slot_of
from services.evaluator.windows import surplus
from tests.simulations.promise import Measured, Promise

Floats = npt.NDArray[np.float64]

# Half of what routes have by default, in streams of half the length: as many windows.
REFERENCE = 250
WINDOW = 100
ANSWERS = 5_000
# What routes have by default.
DEFAULT = (500, 200)
LONG = 10_000
EARLY = 1_500
# An adapter that is surer serves by itself.
SURE = 0.97
# A Monday, 00:00 UTC.
MONDAY = 1_772_409_600.0
HOUR = 3600.0
LABELS = 8
# Kinds of requests: by day, by night, and what nobody asked before.
WORDING = np.random.default_rng(0).gamma(0.5, 1.5, (3, BUCKETS))
SHARES = np.array(
    [
        [0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02],
        [0.05, 0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.05],
        [0.2, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1],
    ]
)
SCORES = ((9.0, 0.6), (7.0, 1.0), (3.0, 2.0))
WORDS = (14.0, 11.0, 14.0)


@dataclass(frozen=True)
class World:
    name: str
    # Answers an hour.
    pace: float
    # The share of nightly requests is 30 %, and swings by so much in the course of a day.
    swing: float = 0.0
    # From this answer on, a share of the requests is new; and whether it is worded otherwise.
    change: int = ANSWERS
    new: float = 0.0
    another_language: bool = False


def kinds(world: World, at: Floats, rng: np.random.Generator) -> npt.NDArray[np.integer]:
    night = 0.3 + world.swing * np.sin(2 * np.pi * at / (24 * HOUR))
    kind = (rng.random(len(at)) < night).astype(int)
    kind[(np.arange(len(at)) >= world.change) & (rng.random(len(at)) < world.new)] = 2
    return kind


def stream(world: World, rng: np.random.Generator, n: int = ANSWERS) -> tuple[Sample, Floats]:
    """Return what is watched of a stream of answers, and when each was given."""
    at = MONDAY + np.cumsum(rng.exponential(HOUR / world.pace, n))
    kind = kinds(world, at, rng)
    a, b = np.array(SCORES)[kind].T
    chosen = (SHARES[kind].cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    rates = WORDING.copy()
    # New intents are worded like old ones; another language is answered like the old ones.
    rates[2] = np.roll(WORDING[0], 7) if world.another_language else WORDING[0]
    words = rng.poisson(np.array(WORDS)[kind]) + 3
    return (
        Sample(
            score=rng.beta(a, b),
            words=words,
            label=[str(label) for label in np.minimum(chosen, LABELS - 1)],
            wording=rng.poisson(rates[kind]),
        ),
        at,
    )


def picked(sample: Sample, places: Sequence[int]) -> Sample:
    return Sample(
        sample.score[places],
        sample.words[places],
        [sample.label[place] for place in places],
        sample.wording[places],
    )


def alarms(
    sample: Sample,
    at: Floats,
    reference: int = REFERENCE,
    window: int = WINDOW,
    by_hour: bool = True,
    enough: int | None = None,
) -> list[int]:
    """Return after how many answers each alarm came, up to the first one after `enough`."""
    slots = [slot_of(each) if by_hour else 0 for each in at]
    places = [(seq, float(each)) for seq, each in enumerate(at)]
    found: list[int] = []
    since = windows = 0
    while since + reference <= len(at) and (enough is None or since <= enough):
        held = list(range(since, since + reference))
        cursor = since + reference
        recent: tuple[bool, ...] = ()
        while cursor + window <= len(at):
            seen = range(cursor, cursor + window)
            older = [places[place] for place in seen[: window // 2]]
            matching = matched(
                [slots[place] for place in held],
                [slots[place] for place in seen],
                reference,
                seed=cursor,
            )
            fired = False
            if matching is not None:
                statistics = compare(
                    picked(sample, [held[place] for place in matching[0]]),
                    picked(sample, [seen[place] for place in matching[1]]),
                    windows,
                )
                windows += 1
                fired = any(statistic.fired for statistic in statistics)
                recent = (*recent, fired)[-OF_LAST:]
            if matching is not None and sustained(recent):
                break
            if not fired:
                beyond = set(surplus([places[place] for place in held], older, reference))
                held += [place for place, _ in older if place not in beyond]
            cursor += window // 2
        else:
            break
        found.append(cursor + window)
        since = cursor + window
    return found


Stream = Callable[[World, np.random.Generator], bool]


def has_alarm(world: World, rng: np.random.Generator) -> bool:
    return bool(alarms(*stream(world, rng), enough=0))


def has_alarm_by_no_clock(world: World, rng: np.random.Generator) -> bool:
    return bool(alarms(*stream(world, rng), by_hour=False, enough=0))


def is_found(world: World, rng: np.random.Generator) -> bool:
    """Say whether an alarm comes after the change, be there an earlier one or not."""
    found = alarms(*stream(world, rng, LONG), *DEFAULT, enough=world.change)
    return any(after > world.change for after in found)


def is_found_in_what_is_confident(world: World, rng: np.random.Generator) -> bool:
    """Watch no more than what an adapter is sure of; it leaves new kinds to the base model."""
    sample, at = stream(world, rng, LONG)
    sure = np.flatnonzero(sample.score > SURE)
    change = int(np.searchsorted(sure, world.change))
    return any(
        after > change for after in alarms(picked(sample, sure.tolist()), at[sure], *DEFAULT)
    )


def is_found_again(world: World, rng: np.random.Generator) -> bool:
    """Say whether the change is found after an earlier one had its alarm."""
    found = alarms(*changed_before(world, rng), *DEFAULT, enough=world.change)
    return any(after > world.change for after in found)


def is_found_once(world: World, rng: np.random.Generator) -> bool:
    """Say whether the change is found where one alarm is all that a champion gets."""
    only = alarms(*changed_before(world, rng), *DEFAULT, enough=0)
    return any(after > world.change for after in only)


def changed_before(world: World, rng: np.random.Generator) -> tuple[Sample, Floats]:
    """Return a stream that another language of 1,500 answers goes before."""
    early = replace(world, change=0, new=1.0, another_language=True)
    first, began = stream(early, rng, EARLY)
    late = replace(world, change=world.change - EARLY)
    second, went_on = stream(late, rng, LONG - EARLY)
    both = Sample(
        np.concatenate([first.score, second.score]),
        np.concatenate([first.words, second.words]),
        [*first.label, *second.label],
        np.concatenate([first.wording, second.wording]),
    )
    return both, np.concatenate([began, went_on + began[-1] - MONDAY])


def over(
    worlds: Sequence[World], happens: Stream
) -> Callable[[int, np.random.Generator], list[Measured]]:
    def simulate(runs: int, rng: np.random.Generator) -> list[Measured]:
        return [
            Measured(world.name, sum(happens(world, rng) for _ in range(runs)), runs)
            for world in worlds
        ]

    return simulate


SLOW = 20.0
UNCHANGED = World("nothing changes, 1,000 answers an hour", 1_000.0)
SWINGS = (
    World("the mix swings by 10 % in a day, 20 answers an hour", SLOW, 0.1),
    World("the mix swings by 20 % in a day, 20 answers an hour", SLOW, 0.2),
)
NEW = World("15 % new kinds", SLOW, change=2_000, new=0.15)
AGAIN = World("15 % new kinds after another change", SLOW, change=4_000, new=0.15)
INTENTS = World("30 % new intents", SLOW, 0.1, 5_000, 0.3)
LANGUAGE = World("another language, 20 %", SLOW, 0.1, 5_000, 0.2, True)

PROMISES = (
    Promise(
        name="input-alarms",
        statement="At most 12 % of the streams of 100 windows have an alarm while nothing changes"
        " but the hour.",
        level=0.12,
        side="at most",
        simulate=over((UNCHANGED, *SWINGS), has_alarm),
        control=over(SWINGS, has_alarm_by_no_clock),
        instead="a reference of all hours",
        short=4,
        long=200,
    ),
    Promise(
        name="input-alarms-found",
        statement="30 % new intents and 20 % in another language are found within 5,000 answers in"
        " at least 90 % of the streams.",
        level=0.9,
        side="at least",
        simulate=over((INTENTS, LANGUAGE), is_found),
        control=over((INTENTS,), is_found_in_what_is_confident),
        instead="a watch on what the adapter is sure of",
        short=2,
        long=200,
    ),
    Promise(
        name="input-alarms-base",
        statement="15 % new kinds of requests are found within 8,000 answers in at least 45 % of"
        " the streams, also where the base model gives most answers.",
        level=0.45,
        side="at least",
        simulate=over((NEW,), is_found),
        control=over((NEW,), is_found_in_what_is_confident),
        instead="a watch on what the adapter is sure of",
        short=7,
        long=200,
    ),
    Promise(
        name="input-alarms-again",
        statement="After an alarm, 15 % new kinds of requests are found in at least 45 % of the"
        " streams, too.",
        level=0.45,
        side="at least",
        simulate=over((AGAIN,), is_found_again),
        control=over((AGAIN,), is_found_once),
        instead="one alarm for each champion",
        short=7,
        long=200,
    ),
)
