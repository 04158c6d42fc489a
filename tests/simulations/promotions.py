"""What the gate promises about adapters: how often one is promoted that should not be, and how
often one that should.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from services.evaluator.gates import LEAST_ROWS, Terms, judge_challenger
from services.evaluator.heldout import deciding
from services.evaluator.paired import discordant, mcnemar_midp
from services.evaluator.spending import LIFE, level
from tests.simulations.arms import (
    Bools,
    answers,
    better,
    difficulty,
    outcomes,
    rows_of,
)
from tests.simulations.promise import Measured, Promise

Judge = Callable[[Bools, Bools, float], bool]
"""Decides by what challenger and champion got right, at a level."""


def by_the_gate(ours: Bools, theirs: Bools, alpha: float) -> bool:
    gate = judge_challenger(
        outcomes("challenger", ours), [outcomes("champion", theirs)], Terms(alpha)
    )
    return gate.promote


def by_the_mean(ours: Bools, theirs: Bools, alpha: float) -> bool:
    return bool(ours.mean() > theirs.mean())


def by_a_few_rows(ours: Bools, theirs: Bools, alpha: float) -> bool:
    return mcnemar_midp(*discordant(ours.tolist(), theirs.tolist())) <= alpha


def spent(promoted: list[bool]) -> float:
    return level(promoted)


def one_alpha(promoted: list[bool]) -> float:
    return LIFE


# Rows at the first attempt, and how many join until the next.
FIRST_ROWS = 85
MORE_ROWS = 40


def life(
    rng: np.random.Generator,
    attempts: int,
    gains: Callable[[], float],
    alpha_of: Callable[[list[bool]], float],
    judge: Judge,
) -> Iterator[tuple[bool, float]]:
    """Yield of each attempt of one route whether it promoted, and what it truly gained. The
    champion's answers to rows that were held out before stay what they were.
    """
    p = difficulty(FIRST_ROWS + MORE_ROWS * attempts, 0.8, rng)
    theirs = rng.random(len(p)) < p
    history: list[bool] = []
    for attempt in range(attempts):
        n = FIRST_ROWS + MORE_ROWS * attempt
        gain = gains()
        q = np.clip(better(p, gain), 0.0, 1.0)
        ours = rng.random(len(p)) < q
        promoted = judge(ours[:n], theirs[:n], alpha_of(history))
        history.append(promoted)
        yield promoted, gain
        if promoted:
            p, theirs = q, ours


def ever_false(
    runs: int,
    rng: np.random.Generator,
    alpha_of: Callable[[list[bool]], float],
    judge: Judge,
) -> list[Measured]:
    worlds: dict[str, tuple[int, Callable[[], float]]] = {
        "one attempt, no better": (1, lambda: 0.0),
        "ten attempts, none better": (10, lambda: 0.0),
        "forty retrains, better or worse by 2 points": (40, lambda: float(rng.normal(0, 0.02))),
    }
    return [
        Measured(
            name,
            sum(
                any(
                    promoted and gain <= 0
                    for promoted, gain in life(rng, n, gains, alpha_of, judge)
                )
                for _ in range(runs)
            ),
            runs,
        )
        for name, (n, gains) in worlds.items()
    ]


def many_tries(runs: int, rng: np.random.Generator) -> list[Measured]:
    return ever_false(runs, rng, spent, by_the_gate)


def many_tries_at_one_alpha(runs: int, rng: np.random.Generator) -> list[Measured]:
    return ever_false(runs, rng, one_alpha, by_the_gate)[1:2]


def better_on_average(runs: int, rng: np.random.Generator) -> list[Measured]:
    return ever_false(runs, rng, spent, by_the_mean)


# Share of the traffic that the champion is unsure of, and how much better the challenger is there.
UNSURE = 0.15
THERE = 0.2


def chosen_rows(runs: int, rng: np.random.Generator, only_audited: bool) -> list[Measured]:
    """Measure first attempts of a challenger that wins where the champion is unsure, and loses as
    much elsewhere. Of the unsure answers all are reviewed, of the others a tenth.
    """
    hits = 0
    for _ in range(runs):
        unsure = np.concatenate([rng.random(200) < UNSURE, np.ones(60, dtype=bool)])
        p = np.where(unsure, 0.5, 0.85)
        q = np.where(unsure, 0.5 + THERE, 0.85 - THERE * UNSURE / (1 - UNSURE))
        splits = ["audit"] * 200 + ["test"] * 60
        rows = rows_of(splits)
        score = np.full(len(p), 0.9)
        said = [
            answers("old", "champion", score, rng.random(len(p)) < p),
            answers("new", "challenger", score, rng.random(len(p)) < q),
        ]
        if only_audited:
            rows, said = deciding(rows, said)
        theirs, ours = (np.array([reply.correct for reply in arm.replies]) for arm in said)
        hits += by_the_gate(ours, theirs, LIFE)
    return [Measured("15 % unsure and all of them reviewed", hits, runs)]


def audited_rows_decide(runs: int, rng: np.random.Generator) -> list[Measured]:
    return chosen_rows(runs, rng, only_audited=True)


def all_rows_decide(runs: int, rng: np.random.Generator) -> list[Measured]:
    return chosen_rows(runs, rng, only_audited=False)


def rare_label(runs: int, rng: np.random.Generator, compare: bool) -> list[Measured]:
    """Measure a challenger that never says "fraud", and gains more than that elsewhere."""
    found = []
    for n, rare in ((500, 10), (1000, 10), (1000, 20)):
        labels = ["fraud"] * rare + ["ok"] * (n - rare)
        hits = 0
        for _ in range(runs):
            theirs = rng.random(n) < np.where(np.arange(n) < rare, 0.9, 0.9)
            ours = rng.random(n) < np.where(np.arange(n) < rare, 0.0, 0.97)
            terms = Terms(level([]), labels if compare else ())
            hits += judge_challenger(
                outcomes("challenger", ours), [outcomes("champion", theirs)], terms
            ).promote
        found.append(Measured(f"{rare} of {n} rows are fraud", hits, runs))
    return found


def labels_are_compared(runs: int, rng: np.random.Generator) -> list[Measured]:
    return rare_label(runs, rng, compare=True)


def only_the_whole_is_compared(runs: int, rng: np.random.Generator) -> list[Measured]:
    return rare_label(runs, rng, compare=False)


def few_rows(runs: int, rng: np.random.Generator, judge: Judge) -> list[Measured]:
    found = []
    for n in (4, 10, LEAST_ROWS - 1):
        hits = 0
        for _ in range(runs):
            p = np.full(n, 0.2)
            hits += judge(rng.random(n) < 0.9, rng.random(n) < p, LIFE)
        found.append(Measured(f"{n} rows, a challenger better by 70 points", hits, runs))
    return found


def few_rows_at_the_gate(runs: int, rng: np.random.Generator) -> list[Measured]:
    return few_rows(runs, rng, by_the_gate)


def few_rows_without_a_least(runs: int, rng: np.random.Generator) -> list[Measured]:
    return few_rows(runs, rng, by_a_few_rows)


# Audited rows at the three attempts.
RECOMMENDED = (400, 450, 500)
FEW = (100, 150, 200)


def five_points(runs: int, rng: np.random.Generator, sizes: Sequence[int]) -> list[Measured]:
    """Measure loops of three attempts, each with an adapter that is five points better."""
    hits = 0
    for _ in range(runs):
        p = difficulty(sizes[-1], 0.85, rng)
        theirs = rng.random(len(p)) < p
        history: list[bool] = []
        for n in sizes:
            ours = rng.random(len(p)) < better(p, 0.05)
            history.append(by_the_gate(ours[:n], theirs[:n], level(history)))
            if history[-1]:
                break
        hits += any(history)
    return [Measured("85 to 90 % right, the arms differ on 18 % of the rows", hits, runs)]


def power(runs: int, rng: np.random.Generator) -> list[Measured]:
    return five_points(runs, rng, RECOMMENDED)


def power_of_few_rows(runs: int, rng: np.random.Generator) -> list[Measured]:
    return five_points(runs, rng, FEW)


PROMISES = (
    Promise(
        name="many-tries",
        statement="At most 5 % of the routes ever promote an adapter that is no improvement,"
        " however often they try.",
        level=LIFE,
        side="at most",
        simulate=many_tries,
        control=many_tries_at_one_alpha,
        instead="5 % for every try",
        long=2000,
    ),
    Promise(
        name="better-on-average",
        statement="At most 5 % of the routes ever promote an adapter that is no improvement.",
        level=LIFE,
        side="at most",
        simulate=many_tries,
        control=better_on_average,
        instead="the higher mean wins",
        short=100,
        long=1000,
    ),
    Promise(
        name="chosen-rows",
        statement="A promotion at 5 % is false in at most 5 % of the tries, whatever brought other"
        " answers to reviewers.",
        level=LIFE,
        side="at most",
        simulate=audited_rows_decide,
        control=all_rows_decide,
        instead="all held-out rows decide, unweighted",
        long=4000,
    ),
    Promise(
        name="rare-label",
        statement="An adapter that never gives a label of ten rows is promoted in at most 5 %.",
        level=0.05,
        side="at most",
        simulate=labels_are_compared,
        control=only_the_whole_is_compared,
        instead="only the whole is compared",
    ),
    Promise(
        name="few-rows",
        statement=f"Under {LEAST_ROWS} audited rows nothing is promoted.",
        level=0.0,
        side="at most",
        simulate=few_rows_at_the_gate,
        control=few_rows_without_a_least,
        instead="the test alone",
    ),
    Promise(
        name="five-points",
        statement="An adapter that is five points better is promoted within three attempts in at"
        " least 80 % of the loops, with 400, 450 and 500 audited rows.",
        level=0.8,
        side="at least",
        simulate=power,
        control=power_of_few_rows,
        instead="100, 150 and 200 rows",
        short=200,
        long=1000,
    ),
)
