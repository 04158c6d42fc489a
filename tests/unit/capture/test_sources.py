"""A topic's records are recorded as requests are: the same events, the same redaction, ids of the
application that the mapping names; tenant and route are the mapping's.
"""

from __future__ import annotations

import json
from typing import Any

from aiokafka import ConsumerRecord

from schemas import topics
from services.capture.mapping import Mapping
from services.capture.sources import Source
from tests import factories
from tests.unit.capture.conftest import Capture
from tests.unit.capture.test_ids import key_for, post
from tests.unit.capture.test_inferences import PATH, sent

INFERENCES = {"input": "/q", "answer": "/a", "metadata": {"from": "/from"}}
FEEDBACK = {"inference_id": "/for", "rating": "/stars", "scale": {"max": "/of"}}


def source(capture: Capture, fields: dict[str, Any], **changes: Any) -> Source:
    intake = capture.service.parts.intake
    mapping = {"topic": "shop.chat", "route": "acme/support-triage", "fields": fields, "id": "/id"}
    said = Mapping.model_validate(mapping | changes)
    return Source(said, intake.ledger, intake.blobs, intake.personal, intake.tally)


def records(*values: object) -> list[ConsumerRecord]:
    bodies = [json.dumps(value).encode() for value in values]
    return [
        ConsumerRecord("shop.chat", 0, n, 5, 0, None, body, 0, 1, len(body), ())
        for n, body in enumerate(bodies)
    ]


async def taken(source: Source, *values: object) -> list[str | None]:
    """Return why each was not taken."""
    assert await source.waits() is None
    prepared = await source.prepare(records(*values))
    async with source.ledger.db.transaction() as tx:
        return [error and error.name for error in await source.take(tx, prepared)]


async def test_a_record_is_the_event_that_a_request_would_be(capture: Capture) -> None:
    said = {"id": 1, "q": "I am ada@example.com", "a": "card 4111 1111 1111 1111", "from": "b@c.de"}
    assert await taken(source(capture, INFERENCES), said) == [None]
    await capture.post(
        PATH,
        sent(input=said["q"], answer=said["a"], metadata={"from": "b@c.de"}, model="external"),
    )
    own = ("event_id", "inference_id", "occurred_at")
    one, other = (
        {name: value for name, value in event.items() if name not in own}
        for event in await capture.events()
    )
    assert one == other
    assert (one["messages"][0]["content"], one["answer"]) == ("I am [EMAIL]", "card [CARD]")


async def test_an_app_may_send_the_same_ids_over_both(small: Capture) -> None:
    shop = key_for(small, "shop")
    first = (await post(small, shop, PATH, sent(client_id="7"))).json()
    assert first["accepted"] == 1
    same = {"id": 7, "q": "Where is my parcel?", "a": "delivery"}
    assert await taken(source(small, INFERENCES, application="shop"), same) == [None]
    assert len(await small.events()) == 1
    assert await taken(source(small, INFERENCES), same) == [None]
    assert len(await small.events()) == 2, "another application"
    assert await taken(source(small, INFERENCES, application="shop"), same | {"a": "refund"}) == [
        "OtherContent"
    ]


async def test_feedback_stays_with_the_route_of_the_mapping(small: Capture) -> None:
    def ids(reply: Any) -> str:
        return reply.json()["inference_ids"][0]

    mine = ids(await small.post(PATH, sent()))
    other = ids(await small.post(PATH, sent(route="other")))
    theirs = ids(await small.post(PATH, sent(), tenant="globex"))
    votes = [
        {"id": n, "for": about, "stars": 1, "of": 5}
        for n, about in enumerate([mine, other, theirs, "chat-77"])
    ]
    assert await taken(source(small, FEEDBACK, records="feedback"), *votes) == [
        None,
        "OtherRoute",
        "InferenceUnknown",
        None,
    ]
    events = [event for event in await small.events() if "feedback_id" in event]
    assert [(event["inference_id"], event["value"]) for event in events] == [
        (mine, -0.6),
        ("chat-77", -0.6),
    ]
    assert {event["source"] for event in events} == {"topic:shop.chat"}


async def test_large_contents_go_by_reference(small: Capture) -> None:
    assert await taken(source(small, INFERENCES), {"id": 1, "q": "x" * 600_000, "a": "b"}) == [None]
    [event] = await small.events()
    assert (event["messages"], bool(event["content"])) == ([], True)


async def test_it_waits_for_its_route_alone(small: Capture) -> None:
    late = source(small, INFERENCES, route="acme/late")
    assert "no route 'acme/late'" in await late.waits()
    async with small.service.db.transaction() as tx:
        event = factories.route_changed(route="acme/late", spec=factories.spec(name="acme/late"))
        await small.service.handlers[topics.ROUTE_CHANGED](tx, event)
    assert await late.waits() is None


async def test_a_dead_letter_says_no_word_of_the_app(small: Capture) -> None:
    said = {"id": 1, "q": 7, "about": {"Ada Lovelace": None, "ada@example.com": [1]}}
    taker = source(small, INFERENCES | {"metadata": "/about"})
    [one] = await taker.prepare(records(said))
    assert one.refused is not None
    assert "answer: Field required" in str(one.refused)
    assert "ada" not in str(one.refused).lower()
