"""Personal data that is a route's task: what capture records of it in inferences and feedback."""

from __future__ import annotations

import json
import re
from typing import Any

from schemas import topics
from services.capture import store
from shared.privacy import redact
from tests import factories
from tests.unit.capture.conftest import Capture
from tests.unit.capture.test_inferences import PATH, sent
from tests.unit.capture.test_sources import source, taken

ASKED = "I am Ann, (415) 555-2671 or ann@acme.com"
ITEM = sent(
    input=ASKED,
    answer='{"phone": 4155552671}',
    metadata={"phone": "+14155552671"},
    client_id="c-1",
)
PHONE = re.compile(r"\(415\) \d{3}-\d{4}")


async def hears(capture: Capture, version: int, monkeypatch: Any, **personal: str) -> None:
    """Have capture hear of a route, which it looks at again after a while."""
    monkeypatch.setattr(store, "LOOK_SECONDS", 0.0)
    spec = factories.spec(personal=personal)
    async with capture.service.db.transaction() as tx:
        event = factories.route_changed(version=version, spec=spec)
        await capture.service.handlers[topics.ROUTE_CHANGED](tx, event)


def asked(event: dict[str, Any]) -> str:
    return event["messages"][0]["content"]


def plain(text: str) -> str:
    return re.sub(r"\D", "", text)[-10:]


async def test_the_three_ways(capture: Capture, monkeypatch: Any) -> None:
    await capture.post(PATH, ITEM | {"client_id": None})
    await hears(capture, 2, monkeypatch, phone="surrogate", email="keep")
    await capture.post(PATH, ITEM | {"client_id": None})
    await hears(capture, 3, monkeypatch)
    await capture.post(PATH, ITEM | {"client_id": None})
    before, event, after = await capture.events()
    assert asked(before) == asked(after) == redact(ASKED)
    [phone] = PHONE.findall(asked(event))
    assert asked(event) == f"I am Ann, {phone} or ann@acme.com" and "2671" not in json.dumps(event)
    assert json.loads(event["answer"]) == {"phone": int(plain(phone))}
    assert event["metadata"] == {"phone": f"+1{plain(phone)}"}


async def test_the_same_item_again_is_no_other_content(small: Capture, monkeypatch: Any) -> None:
    """Though its surrogates would be others, and though the route changed meanwhile."""
    for version, personal in enumerate(({}, {"phone": "surrogate"}, {"phone": "keep"}), start=2):
        await hears(small, version, monkeypatch, **personal)
        for accepted in (1, 0):
            body = ITEM | {"client_id": f"c-{version}"}
            assert (await small.post(PATH, body)).json()["accepted"] == accepted
        assert (await small.post(PATH, ITEM | {"client_id": "c-2"})).json()["rejected"] == []


async def test_a_correction_of_an_app_has_the_surrogates_of_its_inference(
    small: Capture, monkeypatch: Any
) -> None:
    await hears(small, 2, monkeypatch, phone="surrogate")
    about = (await small.post(PATH, ITEM)).json()["inference_ids"][0]
    body = {"inference_id": about, "correction": '{"phone": "+1 415-555-2671"}', "client_id": "f"}
    for version, treatment in enumerate(("surrogate", "keep"), start=3):
        assert (await small.post("/v1/feedback", body)).json()["rejected"] == []
        await hears(small, version, monkeypatch, phone=treatment)
        assert (await small.post("/v1/feedback", body)).json()["rejected"] == []
    inference, feedback = await small.events()
    [phone] = PHONE.findall(asked(inference))
    assert plain(feedback["text"]) == plain(phone) and "2671" not in feedback["text"]


async def test_records_of_a_topic_are_treated_alike(small: Capture, monkeypatch: Any) -> None:
    await hears(small, 2, monkeypatch, phone="surrogate")
    said = {"id": 1, "q": ASKED, "a": "(415) 555-2671"}
    assert await taken(source(small, {"input": "/q", "answer": "/a"}), said, said) == [None, None]
    [event] = await small.events()
    assert asked(event).startswith(f"I am Ann, {event['answer']} or [EMAIL]")
    vote = {"for": event["inference_id"], "text": "call (415) 555-2671"}
    fields = {"inference_id": "/for", "correction": "/text"}
    assert await taken(source(small, fields, records="feedback"), vote) == [None]
    assert (await small.events())[-1]["text"] == f"call {event['answer']}"


async def test_what_a_newer_release_wrote_is_redacted(small: Capture, monkeypatch: Any) -> None:
    await hears(small, 2, monkeypatch, phone="keep")
    table = small.service.metadata.tables["routes"]
    async with small.service.db.transaction() as tx:
        for row in (await tx.execute(table.select())).all():
            newer = row.state.replace('"phone":"keep"', '"phone":"keep","name":"keep"')
            changed = table.update().where(table.c.route == row.route)
            await tx.execute(changed.values(state=newer))
    await small.post(PATH, ITEM)
    [event] = await small.events()
    assert asked(event) == redact(ASKED)
