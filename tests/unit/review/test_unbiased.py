"""The share of wrong answers, estimated from the probabilities that review publishes, where users
complain of what is wrong, before the verdict and after it. A control logs the coin's alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.route import ReviewRule
from services.review.app import build
from services.review.sampling import coin, sample
from services.review.settings import Settings
from shared.http import Principal
from tests import factories
from tests.unit.review.harness import Review

RULE = ReviewRule(rate=0.3, audit_rate=0.05)
WRONG = 0.2
COMPLAINED_OF_WRONG = 0.6
COMPLAINED_OF_RIGHT = 0.02


@dataclass(frozen=True)
class Reviewed:
    wrong: bool
    # By the coin and what was known when it was placed; and with complaints after the verdict.
    by_coin: float
    acted: float


@dataclass(frozen=True)
class Estimate:
    error: float
    margin: float

    def off(self, truth: float) -> float:
        """In margins of a 95 % interval."""
        return (self.error - truth) / self.margin


def estimate(reviewed: Sequence[tuple[bool, float]], answers: int) -> Estimate:
    """Horvitz and Thompson (1952), of the errors of these answers, and its 95 % margin."""
    wrong = [probability for is_wrong, probability in reviewed if is_wrong]
    variance = sum((1 - probability) / probability**2 for probability in wrong)
    return Estimate(
        sum(1 / probability for probability in wrong) / answers,
        1.96 * math.sqrt(variance) / answers,
    )


def world(rng: random.Random, answers: int) -> Iterator[tuple[bool, Reviewed | None]]:
    """Whether each answer is wrong, and what review makes of it."""
    for number in range(answers):
        tossed = coin(f"{number}/{rng.random()}", "salt")
        wrong = rng.random() < WRONG
        complains = rng.random() < (COMPLAINED_OF_WRONG if wrong else COMPLAINED_OF_RIGHT)
        early = rng.random() < 0.5
        placed = sample(tossed, RULE, complaint=complains and early)
        late = sample(tossed, RULE, complaint=True)
        if placed.sampled or complains:
            acted = late if complains else placed
            by_coin = placed if placed.sampled else late
            yield wrong, Reviewed(wrong, by_coin.probability, acted.probability)
        else:
            yield wrong, None


def test_with_the_inclusion_that_acted_it_is_unbiased_and_without_it_is_not() -> None:
    rng = random.Random(11)
    acted: list[float] = []
    by_coin: list[float] = []
    for _ in range(60):
        answers = list(world(rng, 2_000))
        truth = sum(wrong for wrong, _ in answers) / len(answers)
        seen = [one for _, one in answers if one]
        acted.append(estimate([(o.wrong, o.acted) for o in seen], len(answers)).off(truth))
        by_coin.append(estimate([(o.wrong, o.by_coin) for o in seen], len(answers)).off(truth))
    assert sum(abs(off) <= 1 for off in acted) >= 54
    assert abs(sum(acted) / len(acted)) < 0.25
    # The control: errors that were sampled before their complaint stand for three of their kind.
    assert sum(off > 1 for off in by_coin) >= 54


@pytest.fixture
async def review(tmp_path: Path, keys: dict[str, str]) -> Review:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path}/review.db",
        keys_file=keys["file"],
        artifacts_url=f"file://{tmp_path}/artifacts",
    )
    review = Review(build(settings), keys)
    await review.service.db.create_tables(review.service.metadata)
    return review


async def test_what_review_publishes_gives_the_share_of_wrong_answers(review: Review) -> None:
    rng = random.Random(3)
    await review.hears(factories.route_changed(spec=factories.spec(review=RULE.model_dump())))
    ids = [f"inference-{number}" for number in range(1_500)]
    wrong = {name: rng.random() < WRONG for name in ids}
    complaints = {
        name: rng.random() < 0.2
        for name in ids
        if rng.random() < (COMPLAINED_OF_WRONG if wrong[name] else COMPLAINED_OF_RIGHT)
    }
    await all_at_once(review, *(factories.inference(inference_id=name) for name in ids))
    await complain(review, [name for name, early in complaints.items() if early])
    await decide_all(review, wrong)
    await complain(review, [name for name, early in complaints.items() if not early])
    await decide_all(review, wrong)

    said = await review.said()
    first = {event.inference_id: event.probability for event in reversed(said)}
    last = {event.inference_id: event.probability for event in said}
    truth = sum(wrong.values()) / len(ids)
    assert abs(estimate([(wrong[n], p) for n, p in last.items()], len(ids)).off(truth)) <= 1
    # The control takes each verdict as it was said first.
    assert estimate([(wrong[n], p) for n, p in first.items()], len(ids)).off(truth) > 1
    await review.service.db.close()


async def complain(review: Review, ids: Sequence[str]) -> None:
    await all_at_once(review, *(factories.feedback(inference_id=name, value=0.0) for name in ids))


async def all_at_once(review: Review, *events) -> None:
    handlers = {topic.event: handler for topic, handler in review.service.handlers.items()}
    async with review.service.db.transaction() as tx:
        for event in events:
            await handlers[type(event)](tx, event)


async def decide_all(review: Review, wrong: dict[str, bool]) -> None:
    desk = review.service.parts.desk
    ada = Principal.model_validate(
        {"id": "key_ada", "name": "ada", "tenant": "acme", "scopes": {"review"}}
    )
    while card := await desk.take(ada, None):
        verdict = ("corrected", "refund") if wrong[card.item.inference_id] else ("approved", None)
        await desk.give_verdict(ada, card.item.item_id, *verdict)
