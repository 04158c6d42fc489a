"""Personal data that is a route's task: kept or replaced in what is recorded, never in what the
engine and the app see.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from services.router.sent_route import SentRoute
from shared.privacy import redact
from tests import factories
from tests.unit.router.conftest import Running

ASKED = "I am Ann, (415) 555-2671 or ann@acme.com"
ANSWER = '{"phone":"+14155552671","other":"4155552671"}'
PHONE = re.compile(r"\(415\) \d{3}-\d{4}")


@pytest.fixture
def settings(settings: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    return settings | getattr(request, "param", {})


def spec(**personal: str) -> Any:
    return factories.spec(
        task="extraction", labels=(), label_descriptions={}, personal=personal, max_tokens=64
    )


async def recorded(router: Running, **personal: str) -> dict[str, Any]:
    await router.create(spec(**personal))
    router.vllm.answers = lambda *_: (ANSWER, -0.1)
    given = await router.chat(ASKED, metadata={"phone": "415.555.2671", "mail": "ann@acme.com"})
    assert given.json()["choices"][0]["message"]["content"] == ANSWER
    assert router.vllm.asked[-1]["messages"][-1]["content"] == ASKED
    return (await router.events("InferenceRecorded"))[-1]


async def test_a_route_that_says_nothing_redacts(router: Running) -> None:
    event = await recorded(router)
    assert event["messages"][-1]["content"] == redact(ASKED) == "I am Ann, [PHONE] or [EMAIL]"
    assert event["metadata"] == {"phone": "[PHONE]", "mail": "[EMAIL]"}


async def test_a_surrogate_is_the_same_in_all_of_an_inference(router: Running) -> None:
    """In the answer it is found by what the question says of it."""
    event = await recorded(router, phone="surrogate")
    text = event["messages"][-1]["content"]
    [phone] = PHONE.findall(text)
    plain = re.sub(r"\D", "", phone)
    assert text == f"I am Ann, {phone} or [EMAIL]" and phone != "(415) 555-2671"
    answer = {"phone": f"+1{plain}", "other": plain}
    assert json.loads(event["answer"]) == answer
    assert [json.loads(one["answer"]) for one in event["attempts"]] == [answer]
    assert re.sub(r"\D", "", event["metadata"]["phone"]) == plain
    again = await router.chat(ASKED)
    assert again.status_code == 200
    other = (await router.events("InferenceRecorded"))[-1]["messages"][-1]["content"]
    assert PHONE.findall(other) != [phone]
    async with router.http() as http:
        stored = (await http.get(f"/v1/inferences/{event['inference_id']}")).text
    assert plain in stored and "5552671" not in stored and "555-2671" not in stored


async def test_the_answer_says_what_a_number_of_the_question_is(router: Running) -> None:
    await router.create(spec(phone="surrogate"))
    router.vllm.answers = lambda *_: ('{"phone": "+14155552671"}', -0.1)
    await router.chat("4155552671")
    [event] = await router.events("InferenceRecorded")
    asked = event["messages"][-1]["content"]
    assert asked != "4155552671" and json.loads(event["answer"]) == {"phone": f"+1{asked}"}


async def test_what_is_kept_stands_as_it_was_said(router: Running) -> None:
    event = await recorded(router, email="keep", phone="surrogate")
    shown = await router.create(spec(email="keep", phone="surrogate"))
    assert shown["warnings"] == []
    assert event["messages"][-1]["content"].endswith(" or ann@acme.com")
    assert event["metadata"]["mail"] == "ann@acme.com" and "2671" not in json.dumps(event)


@pytest.mark.parametrize("settings", [{"surrogate_secret": ""}], indirect=True)
async def test_without_a_secret_it_is_redacted_and_the_owner_is_told(router: Running) -> None:
    event = await recorded(router, phone="surrogate")
    assert "no SURROGATE_SECRET" in str((await router.create(spec(phone="surrogate")))["warnings"])
    assert event["messages"][-1]["content"] == redact(ASKED)


async def test_a_changed_route_counts_from_then_on(router: Running) -> None:
    await recorded(router, phone="surrogate")
    await router.create(spec())
    await router.chat(ASKED)
    event = (await router.events("InferenceRecorded"))[-1]
    assert event["messages"][-1]["content"] == redact(ASKED)


@pytest.mark.parametrize(
    ("personal", "says"),
    [
        ({"name": "keep"}, "personal.name\n  Extra inputs are not permitted"),
        (
            {"secret": "keep"},  # pragma: allowlist secret
            "personal.secret\n  Extra inputs are not permitted",
        ),
        ({"phone": "hide"}, "should be 'redact', 'surrogate' or 'keep'"),
        ({"card": "keep"}, "should be 'redact' or 'surrogate'"),
    ],
)
def test_what_no_route_can_have_is_refused(personal: dict[str, str], says: str) -> None:
    sent = factories.spec().model_dump(mode="json") | {"personal": personal}
    with pytest.raises(ValidationError, match=re.escape(says)):
        SentRoute.model_validate(sent)
