"""What the report says of questions that no adapter was trained on, where the champion knows some
of the audited ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.dataset_builder.rows import Candidate, DatasetRow, Question
from services.dataset_builder.split import with_strata
from services.evaluator.paired import discordant, gain_interval
from services.evaluator.report import strata
from tests.simulations.arms import Bools, better, difficulty
from tests.simulations.promise import Measured, Promise

ROWS = 500
# Of what is first seen, how much is answered rightly, and what the challenger gains there.
ACCURACY = 0.85
GAIN = 0.05
# Of what an adapter was trained on.
KNOWN = 0.97


@dataclass(frozen=True)
class World:
    """The champion was trained on a share of the audited questions, the challenger on a part of
    these: verdicts on the others were taken back, or came to contradict each other.
    """

    name: str
    known: float
    by_both: float


WORLDS = (
    World("the champion knows 5 %", 0.05, 0.0),
    World("the champion knows 45 %", 0.45, 0.0),
    World("both know 45 %", 0.45, 1.0),
    World("the champion knows 45 %, the challenger half of them", 0.45, 0.5),
)


@dataclass(frozen=True)
class Audited:
    """The rows as the report reads them, and what each arm got right."""

    rows: list[dict[str, object]]
    ours: Bools
    theirs: Bools


def lived(world: World, rng: np.random.Generator) -> Audited:
    known = rng.random(ROWS) < world.known
    shared = known & (rng.random(ROWS) < world.by_both)
    p = difficulty(ROWS, ACCURACY, rng)
    theirs = rng.random(ROWS) < np.where(known, KNOWN, p)
    ours = rng.random(ROWS) < np.where(shared, KNOWN, better(p, GAIN))
    audit = [candidate(number) for number in range(ROWS)]
    told = with_strata(
        audit,
        {one.cluster: "train" for one, here in zip(audit, shared, strict=True) if here},
        {one.question.key for one, here in zip(audit, known, strict=True) if here},
    )
    rows = [
        {
            "stratum": one.stratum,
            "right": [*(["champion"] if old else []), *(["challenger"] if new else [])],
        }
        for one, old, new in zip(told, theirs.tolist(), ours.tolist(), strict=True)
    ]
    return Audited(rows, ours, theirs)


def candidate(number: int) -> Candidate:
    row = DatasetRow(f"{number}", f"{number}", "ada", number, "approved", "[]", "", audit=True)
    question = Question("[]", "", f"{number}".encode(), (), f"{number}", was_redacted=False)
    return Candidate(row, question, "", "", "", cluster=number)


def of_the_first_seen(audited: Audited) -> tuple[float, float]:
    """Return the interval that the report gives."""
    content = {"rows": audited.rows, "reported": [], "tests": [{"against": "champion"}]}
    (found,) = [one for one in strata(content) if one["name"] == "first seen"]
    return found["low"], found["high"]


def of_all(audited: Audited) -> tuple[float, float]:
    """Take the gain over all rows for that on the first seen ones."""
    wins, losses = discordant(audited.ours.tolist(), audited.theirs.tolist())
    return gain_interval(wins, losses, ROWS)


def held(runs: int, rng: np.random.Generator) -> list[Measured]:
    found = []
    for world in WORLDS:
        hits = 0
        for _ in range(runs):
            low, high = of_the_first_seen(lived(world, rng))
            hits += low <= GAIN <= high
        found.append(Measured(world.name, hits, runs))
    return found


def pooled(runs: int, rng: np.random.Generator) -> list[Measured]:
    found = []
    for world in WORLDS[1:]:
        hits = 0
        for _ in range(runs):
            low, high = of_all(lived(world, rng))
            hits += low <= GAIN <= high
        found.append(Measured(world.name, hits, runs))
    return found


PROMISES = (
    Promise(
        name="first-seen",
        statement="The interval that is told of the gain on questions which no adapter was trained"
        " on holds it in at least 95 %, however many of the audited ones the champion knows.",
        level=0.95,
        side="at least",
        simulate=held,
        control=pooled,
        instead="the interval over all audited rows",
        short=100,
    ),
)
