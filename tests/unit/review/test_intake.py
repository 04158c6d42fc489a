"""Events about one inference arrive in any order, twice, or before its route: it is decided once,
with a known probability.
"""

import itertools
import zlib
from collections.abc import Iterator

from schemas.base import Event, uuid7
from schemas.events import InferenceRecorded, RouteChanged
from services.review.sampling import coin
from tests import factories
from tests.unit.review.harness import Review

SET_ASIDE = {"rate": 0.0, "audit_rate": 0.0, "unsure_rate": 1.0, "drift_batch": 2}


async def one(review: Review):
    (item,) = await review.items()
    return item


def orders(*events: Event) -> Iterator[tuple[Event, ...]]:
    """The same story in every order, each on a route of its own."""
    for number, order in enumerate(itertools.permutations(events)):
        names = {
            event.inference_id: uuid7() for event in events if not isinstance(event, RouteChanged)
        }
        yield tuple(moved(event, f"acme/r{number}", names) for event in order)


def moved(event: Event, route: str, names: dict[str, str]) -> Event:
    change = (
        {"spec": event.spec.model_copy(update={"name": route})}
        if isinstance(event, RouteChanged)
        else {"inference_id": names[event.inference_id]}
    )
    return event.model_copy(update={"route": route, **change})


async def test_unsure_in_any_order_is_queued_once_with_its_probability(review: Review) -> None:
    inference = factories.inference(outcome="unsure")
    for events in orders(
        factories.route_changed(spec=factories.spec(review=SET_ASIDE)),
        inference,
        factories.review_requested(inference_id=inference.inference_id),
    ):
        await review.hears(*events)
    items = await review.items()
    assert len(items) == 6
    for item in items:
        assert (item.state, item.reason, item.probability, item.audit) == (
            "open",
            "unsure",
            1.0,
            False,
        )
        assert item.coin == coin(item.inference_id, "ratchet")


async def test_a_complaint_in_any_order_queues_what_the_coin_set_aside(review: Review) -> None:
    inference = factories.inference()
    complaint = factories.feedback(
        inference_id=inference.inference_id, kind="correction", text="refund", value=None
    )
    for events in orders(
        factories.route_changed(spec=factories.spec(review=SET_ASIDE)), inference, complaint
    ):
        await review.hears(*events)
    items = await review.items()
    assert len(items) == 6
    for item in items:
        assert (item.state, item.reason, item.probability, item.suggestion, item.rank) == (
            "open",
            "feedback",
            1.0,
            "refund",
            0,
        )


async def test_a_request_reaches_an_inference_that_did_not_say_unsure_itself(
    review: Review,
) -> None:
    inference = factories.inference(outcome="external")
    await review.hears(factories.route_changed(spec=factories.spec(review=SET_ASIDE)), inference)
    assert (await one(review)).state == "set_aside"
    await review.hears(factories.review_requested(inference_id=inference.inference_id))
    assert ((await one(review)).state, (await one(review)).reason) == ("open", "unsure")


async def test_praise_and_comments_queue_nothing(review: Review) -> None:
    inference = factories.inference()
    about = {"inference_id": inference.inference_id}
    await review.hears(
        factories.route_changed(spec=factories.spec(review=SET_ASIDE)),
        inference,
        factories.feedback(**about, value=1.0),
        factories.feedback(**about, kind="comment", value=None, text="hm"),
        factories.feedback(**about, kind="outcome", value=0.0),
    )
    assert (await one(review)).state == "set_aside"


async def test_what_is_set_aside_is_kept_compressed_and_forgotten_in_time(review: Review) -> None:
    text = "Where is my parcel? " * 200
    await review.hears(
        factories.route_changed(spec=factories.spec(review=SET_ASIDE)),
        factories.inference(messages=[{"role": "user", "content": text}]),
    )
    packed = (await one(review)).asked
    assert len(packed) < len(text) / 5 and text.encode() in zlib.decompress(packed)
    housekeeping = review.service.parts.housekeeping
    assert await housekeeping.once() == 0
    housekeeping.keep_seconds = -1
    assert await housekeeping.once() == 1 and await review.items() == []


async def test_a_second_record_of_the_same_inference_changes_nothing(reviewing_all: Review) -> None:
    inference = factories.inference()
    await reviewing_all.hears(
        inference, inference.model_copy(update={"event_id": uuid7(), "answer": "refund"})
    )
    async with reviewing_all.client() as client:
        assert (await client.post("/v1/queue/next")).json()["answer"] == "delivery"
    assert len(await reviewing_all.items()) == 1


async def test_drift_opens_a_batch_of_the_next_answers(review: Review) -> None:
    await review.hears(
        factories.route_changed(spec=factories.spec(review=SET_ASIDE)),
        factories.inference(),
        factories.drift(),
        *(factories.inference() for _ in range(4)),
    )
    items = sorted(await review.items(), key=lambda item: item.item_id)
    assert [item.state for item in items] == ["set_aside", "open", "open", "set_aside", "set_aside"]
    assert {(item.reason, item.probability) for item in items if item.state == "open"} == {
        ("drift", 1.0)
    }


async def test_audit_follows_the_coin_whatever_the_reason(review: Review) -> None:
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 0.5, "audit_rate": 0.3})),
        *(factories.inference(outcome=("unsure", "confident")[n % 2]) for n in range(60)),
    )
    items = await review.items()
    assert {item.audit for item in items} == {True, False}
    assert all(
        item.audit == (item.coin < 0.3) and (item.state == "open") == (item.coin < item.probability)
        for item in items
    )
    assert {item.reason for item in items if item.audit} == {"audit", "unsure"}


async def test_a_complaint_moves_what_already_waits_to_the_front(reviewing_all: Review) -> None:
    first = not_audited()
    second = not_audited()
    await reviewing_all.hears(
        factories.drift(),
        first,
        second,
        factories.feedback(inference_id=second.inference_id, value=-1.0),
    )
    async with reviewing_all.client() as client:
        taken = (await client.post("/v1/queue/next")).json()
    assert (taken["inference_id"], taken["reason"]) == (second.inference_id, "feedback")


def not_audited() -> InferenceRecorded:
    ids = (uuid7() for _ in itertools.count())
    return factories.inference(
        inference_id=next(one for one in ids if coin(one, "ratchet") >= 0.04)
    )
