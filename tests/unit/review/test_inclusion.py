"""What is logged is the inclusion that acted: a complaint makes an answer reviewed for sure, also
when it comes after the verdict (docs/methods.md, section 4).
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from schemas.base import uuid7
from schemas.events import FeedbackRecorded, InferenceRecorded, ReviewCompleted
from services.review.sampling import coin
from tests import factories
from tests.unit.review.harness import Review, add_key

RATE = 0.3


def id_with(low: float, high: float) -> str:
    """An inference whose coin falls between the two."""
    while not low <= coin(inference_id := uuid7(), "ratchet") < high:
        pass
    return inference_id


def complaint(about: InferenceRecorded, **changes: object) -> FeedbackRecorded:
    return factories.feedback(inference_id=about.inference_id, **({"value": 0.0} | changes))


@pytest.fixture
async def sampling(review: Review) -> Review:
    """A route of which the coin brings three tenths to reviewers, and audits a tenth."""
    rates = {"rate": RATE, "audit_rate": 0.1}
    await review.hears(
        factories.route_changed(spec=factories.spec(review=rates, guideline="2026-11"))
    )
    return review


async def asked(review: Review, low: float = 0.1, high: float = RATE) -> InferenceRecorded:
    inference = factories.inference(inference_id=id_with(low, high))
    await review.hears(inference)
    return inference


async def decide(review: Review, item_id: str = "", secret: str | None = None) -> str:
    """Decide an item, or the next one."""
    async with review.client(secret=secret) as client:
        if not item_id:
            item_id = (await client.post("/v1/queue/next", json={})).json()["item_id"]
        body = {"verdict": "corrected", "answer": "refund"}
        done = await client.post(f"/v1/items/{item_id}/verdict", json=body)
        assert done.status_code == 200, done.text
    return item_id


async def undo(review: Review, item_id: str) -> None:
    async with review.client() as client:
        assert (await client.post(f"/v1/items/{item_id}/undo")).status_code == 200


def but(event: ReviewCompleted) -> dict[str, object]:
    return event.model_dump(exclude={"event_id", "probability"})


async def test_a_complaint_after_the_verdict_says_it_again_with_probability_1(
    sampling: Review,
) -> None:
    inference = await asked(sampling)
    await decide(sampling)
    await sampling.hears(factories.route_changed(version=2, spec=factories.spec(guideline="later")))
    await sampling.hears(complaint(inference))
    first, again = await sampling.said()
    assert (first.probability, again.probability) == (RATE, 1.0)
    assert but(again) == but(first) and again.event_id != first.event_id
    assert (again.guideline, again.reason, again.supersedes) == ("2026-11", "sampled", None)
    (item,) = await sampling.items()
    assert (item.state, item.probability, item.complaint) == ("done", 1.0, True)


async def test_it_is_said_once_however_many_complain(sampling: Review) -> None:
    inference = await asked(sampling)
    await decide(sampling)
    await sampling.hears(
        complaint(inference),
        complaint(inference, kind="correction", value=None, text="refund"),
        complaint(inference, value=-1.0),
    )
    assert [event.probability for event in await sampling.said()] == [RATE, 1.0]


async def test_praise_comments_and_outcomes_change_nothing(sampling: Review) -> None:
    inference = await asked(sampling)
    await decide(sampling)
    await sampling.hears(
        complaint(inference, value=1.0),
        complaint(inference, kind="comment", value=None, text="hm"),
        complaint(inference, kind="outcome", value=0.0),
    )
    assert [event.probability for event in await sampling.said()] == [RATE]


async def test_a_user_who_thinks_better_of_it_does_not_undo_that_it_acted(
    sampling: Review,
) -> None:
    inference = await asked(sampling)
    await decide(sampling)
    await sampling.hears(complaint(inference), complaint(inference, value=1.0))
    assert [event.probability for event in await sampling.said()] == [RATE, 1.0]
    # The other way round: a vote that was changed to a complaint acts as one.
    other = await asked(sampling)
    await decide(sampling)
    await sampling.hears(complaint(other, value=1.0), complaint(other))
    assert [event.probability for event in await sampling.said()][2:] == [RATE, 1.0]


async def test_an_audited_answer_stays_in_the_uniform_share(sampling: Review) -> None:
    inference = await asked(sampling, 0.0, 0.1)
    await decide(sampling)
    await sampling.hears(complaint(inference))
    first, again = await sampling.said()
    assert (again.audit, again.reason, again.coin) == (True, "audit", first.coin)
    assert (first.probability, again.probability) == (RATE, 1.0)


@pytest.mark.parametrize("rate", [0.02, 0.5])
async def test_a_new_audit_rate_audits_no_answer_because_of_its_complaint(
    sampling: Review, rate: float
) -> None:
    """Else the uniform share would gain, or lose, those that users complain of, and no others."""
    audited = await asked(sampling, 0.05, 0.1)
    waiting = await asked(sampling, 0.1, RATE)
    set_aside = await asked(sampling, RATE, 0.45)
    rates = {"rate": 0.6, "audit_rate": rate}
    changed = factories.spec(review=rates)
    await sampling.hears(factories.route_changed(version=2, spec=changed))
    await sampling.hears(*map(complaint, (audited, waiting, set_aside)))
    audits = {item.inference_id: item.audit for item in await sampling.items()}
    assert audits == {
        audited.inference_id: True,
        waiting.inference_id: False,
        set_aside.inference_id: False,
    }


async def test_before_the_inference_and_while_it_waits_it_is_logged_at_once(
    sampling: Review,
) -> None:
    early = factories.inference(inference_id=id_with(RATE, 1.0))
    await sampling.hears(complaint(early), early)
    waiting = await asked(sampling)
    await sampling.hears(complaint(waiting))
    never_sampled = await asked(sampling, RATE, 1.0)
    await sampling.hears(complaint(never_sampled))
    for _ in range(3):
        await decide(sampling)
    said = await sampling.said()
    assert len({event.inference_id for event in said}) == len(said) == 3
    assert {(event.probability, event.reason) for event in said} == {(1.0, "feedback")}


async def test_what_was_taken_back_is_decided_again_with_probability_1(sampling: Review) -> None:
    inference = await asked(sampling)
    item_id = await decide(sampling)
    await undo(sampling, item_id)
    await sampling.hears(complaint(inference))
    await decide(sampling, item_id)
    await undo(sampling, item_id)
    await decide(sampling, item_id)
    said = await sampling.said()
    assert [(event.probability, event.withdrawn) for event in said] == [
        (RATE, False),
        (RATE, True),
        (1.0, False),
        (1.0, True),
        (1.0, False),
    ]


async def test_taken_back_after_the_complaint_it_stays_logged(sampling: Review) -> None:
    inference = await asked(sampling)
    item_id = await decide(sampling)
    await sampling.hears(complaint(inference, kind="correction", value=None, text="password"))
    await undo(sampling, item_id)
    async with sampling.client() as client:
        assert (await client.get(f"/v1/items/{item_id}")).json()["suggestion"] == "password"
    await decide(sampling, item_id)
    assert [event.probability for event in await sampling.said()] == [RATE, 1.0, 1.0, 1.0]


async def test_skipped_by_one_and_decided_by_another_it_keeps_its_probability(
    sampling: Review,
) -> None:
    bob = add_key(sampling, "bob", "acme", {"review"})
    skipped = await asked(sampling)
    async with sampling.client() as client:
        item = (await client.post("/v1/queue/next", json={})).json()
        assert (await client.post(f"/v1/items/{item['item_id']}/release")).status_code == 204
    await decide(sampling, secret=bob)
    (said,) = await sampling.said()
    assert (said.inference_id, said.probability, said.reviewer) == (
        skipped.inference_id,
        RATE,
        "bob",
    )
    # A skip is no shield against a complaint, either.
    await sampling.hears(complaint(skipped))
    assert (await sampling.said())[-1].probability == 1.0


async def test_a_complaint_that_would_have_come_too_late_did_not_act(sampling: Review) -> None:
    """After REVIEW_KEEP_DAYS what the coin set aside is forgotten: no complaint brings it back."""
    inference = await asked(sampling)
    await decide(sampling)
    late = complaint(inference).occurred_at + timedelta(days=31)
    await sampling.hears(complaint(inference, occurred_at=late))
    assert [event.probability for event in await sampling.said()] == [RATE]


async def test_a_verdict_whose_content_is_gone_keeps_the_queue_going(sampling: Review) -> None:
    inference = await asked(sampling)
    await decide(sampling)
    table = sampling.service.metadata.tables["items"]
    async with sampling.service.db.transaction() as tx:
        await tx.execute(table.update().values(asked=b"not zlib"))
    await sampling.hears(complaint(inference))
    assert len(await sampling.said()) == 1
