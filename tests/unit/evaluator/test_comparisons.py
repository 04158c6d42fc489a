"""Pairs of answers: sides that nobody can guess, one judgement each, and what they decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sqlalchemy import MetaData

from schemas.base import Message
from schemas.comparisons import AnswersCompared, Judgement
from services.evaluator.comparisons import (
    Estimate,
    Pairing,
    Tally,
    decide,
    estimate,
    pairing,
    share_interval,
    tally_of,
)
from services.evaluator.pairs import compared_by_model, comparison_requested, judge
from services.evaluator.store.comparisons import ComparisonStore
from shared.rules import evidence_of_winning, read_compared
from shared.storage import BlobStore
from shared.storage.db import Database
from tests import factories

QUESTION = (Message(role="user", content="Summarise this."),)


@pytest.mark.parametrize("pairs", [1, 5, 20, 100])
def test_evidence_is_a_fair_bet(pairs: int) -> None:
    """Under the null its mean is one, so that it seldom grows large (Ville)."""
    wins = np.arange(pairs + 1)
    chances = binom.pmf(wins, pairs, 0.5)
    grown = [evidence_of_winning(int(won), pairs - int(won)) for won in wins]
    assert chances @ np.array(grown) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("tally", "decision"),
    [
        (Tally(), "continue"),
        (Tally(wins=6), "continue"),
        (Tally(wins=7), "promote"),
        (Tally(losses=7), "reject"),
        (Tally(wins=8, losses=8), "continue"),
        (Tally(ties=60, neither=40), "reject"),
        (Tally(wins=8, ties=90), "promote"),
    ],
)
def test_decisions(tally: Tally, decision: str) -> None:
    assert decide(tally, alpha=0.05, most=100) == decision


def test_the_interval_of_a_share_holds_at_every_look() -> None:
    """Looked at after each of 200 pairs, it misses the truth in at most 5 of 100 runs."""
    rng = np.random.default_rng(3)
    intervals = {}
    missed = 0
    for _ in range(200):
        won = np.cumsum(rng.random(200) < 0.6)
        for pairs, wins in enumerate(won, start=1):
            at = int(wins), pairs - int(wins)
            low, high = intervals.setdefault(at, share_interval(*at))
            if not low <= 0.6 <= high:
                missed += 1
                break
    assert missed <= 200 * 0.05 + 6
    assert share_interval(0, 0) == pytest.approx((0, 1), abs=0.001)
    low, high = share_interval(130, 70)
    assert 0.5 < low < 0.65 < high < 0.8


def test_a_judge_promotes_nothing_by_itself() -> None:
    sure = Estimate(mean=0.9, low=0.8, high=1.0, trust=1.0)
    assert decide(Tally(), 0.05, 100, sure) == "continue"
    hopeless = Estimate(mean=-0.5, low=-0.6, high=-0.4, trust=1.0)
    assert decide(Tally(), 0.05, 100, hopeless) == "reject"
    # People have shown it already.
    assert decide(Tally(wins=20), 0.05, 100, hopeless) == "promote"


def test_a_good_judge_makes_the_interval_shorter_and_a_random_one_is_not_believed() -> None:
    rng = np.random.default_rng(5)
    people = rng.choice([-1.0, 1.0], 1000, p=(0.4, 0.6))
    good = np.where(rng.random(1000) < 0.9, people, -people)
    random = rng.choice([-1.0, 1.0], 1000)
    alone, with_good, with_random = (
        estimate(people[:100], model[:100], rest)
        for model, rest in ((good, good[:0]), (good, good[100:]), (random, random[100:]))
    )
    assert alone and with_good and with_random
    assert with_good.high - with_good.low < 0.75 * (alone.high - alone.low)
    assert alone.trust == 0 and with_good.trust > 0.5 and with_random.trust < 0.25
    assert estimate(people[:5], good[:5], good[5:]) is None


def test_sides_are_even_and_names_tell_nothing() -> None:
    made = [pairing("evaluation", f"row-{n}", "champion") for n in range(4000)]
    left = sum(pair.challenger == "left" for pair in made)
    assert abs(left - 2000) < 4 * 32
    assert len({pair.comparison_id for pair in made}) == 4000
    assert pairing("evaluation", "row-1", "champion") == made[1]
    by_name = sum(
        (int(pair.comparison_id[0], 16) & 1) == (pair.challenger == "left") for pair in made
    )
    assert abs(by_name - 2000) < 4 * 32


def test_judgements_are_counted_by_the_side_of_the_challenger() -> None:
    said: list[tuple[Judgement, str]] = [
        ("left", "left"),
        ("left", "right"),
        ("right", "right"),
        ("tie", "left"),
        ("neither", "right"),
    ]
    assert tally_of(said) == Tally(wins=2, losses=1, ties=1, neither=1)  # type: ignore[arg-type]


async def test_a_request_shows_no_arm_and_hides_personal_data(tmp_path: Path) -> None:
    blobs = BlobStore(f"file://{tmp_path}")
    pair = pairing("evaluation", "row-1", "champion")
    mine, other = "mail ada@example.com", "no mail"
    asked = comparison_requested(blobs, pair, "acme", factories.spec(), QUESTION, mine, other)
    ours, theirs = (
        (asked.left, asked.right) if pair.challenger == "left" else (asked.right, asked.left)
    )
    assert "ada@example.com" not in ours and theirs == "no mail"
    assert not {"champion", "challenger", "row-1"} & set(asked.model_dump_json().split('"'))
    kept = factories.spec(personal={"email": "surrogate"})
    shown = comparison_requested(blobs, pair, "acme", kept, QUESTION, mine, other)
    assert {shown.left, shown.right} == {mine, other} and shown.route == factories.ROUTE
    large = comparison_requested(
        blobs, pair, "acme", factories.spec(), QUESTION, "x" * 300_000, "y"
    )
    assert large.content and (large.messages, large.left, large.right) == ((), "", "")
    whole = await read_compared(blobs, large.content)
    assert {len(whole.left), len(whole.right)} == {1, 300_000}


class Says:
    """A model that says these words in turn."""

    name = "judge-8b"

    def __init__(self, *words: str) -> None:
        self.words = list(words)

    async def say(self, *_: object) -> str:
        return self.words.pop(0)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("A", "B"), "left"),
        (("B", "A"), "right"),
        (("A", "A"), "tie"),
        (("TIE", "TIE"), "tie"),
        (("NEITHER", "NEITHER"), "neither"),
        (("A", "TIE"), "tie"),
        (("I like A", "B"), "tie"),
    ],
)
async def test_a_judge_is_asked_in_both_orders(words: tuple[str, ...], found: str) -> None:
    assert await judge(Says(*words), QUESTION, "one", "two") == found


async def test_judgements_are_kept_once_a_pair_and_counted(database_url: str) -> None:
    metadata = MetaData()
    store = ComparisonStore(metadata)
    db = Database(database_url)
    await db.create_tables(metadata)
    made = [pairing("evaluation", f"row-{n}", "champion") for n in range(3)]
    async with db.transaction() as tx:
        assert [await store.ask(tx, pair) for pair in (*made, made[0])] == [True] * 3 + [False]
        # It may come before the pair is known, and again.
        for pair in (*made[:2], made[0]):
            await store.on_answers_compared(tx, said(pair, pair.challenger))
        await store.on_answers_compared(tx, said(made[2], "tie", judge="model"))
        await store.on_answers_compared(tx, said(made[0], "tie"))
    async with db.read() as connection:
        assert await store.tally(connection, "evaluation", "champion") == Tally(wins=2)
        assert await store.tally(connection, "evaluation", "base") == Tally()
        assert len(await store.said(connection, "evaluation", "champion", "model")) == 1
        assert len(await store.asked(connection, "evaluation")) == 3
    await db.close()


def said(pair: Pairing, judgement: str, judge: str = "person") -> AnswersCompared:
    about = {"comparison_id": pair.comparison_id, "evaluation_id": pair.evaluation_id}
    return factories.answers_compared(judgement=judgement, judge=judge, **about)


def test_what_a_model_finds_names_it() -> None:
    pair = pairing("evaluation", "row-1", "base")
    event = compared_by_model("acme", factories.ROUTE, pair, "tie", "judge-8b")
    assert (event.judge, event.by, event.comparison_id) == (
        "model",
        "judge-8b",
        pair.comparison_id,
    )
