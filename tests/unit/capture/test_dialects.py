"""Times, ratings, messages and metadata as others write them mean what they meant there; what has
no one meaning is refused as before.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.capture.dialects import message_of, names_of, rating_of, time_of, unpacked
from services.capture.mending import Unusable, look
from services.capture.shapes import SentFeedback, SentInference

ITEM = {"route": "r", "input": "hi", "answer": "yo"}


def inference(**changes: Any) -> SentInference:
    return look({**ITEM, **changes}, SentInference)[0]


@pytest.mark.parametrize(
    "said",
    [
        1764115200,
        1764115200_000,
        1764115200_000_000,
        1764115200_000_000_000,
        "1764115200",
        "1764115200000000",
        "1764115200000000000",
        "2025-11-26T00:00:00Z",
        "2025-11-26 00:00:00 UTC",
        "2025-11-26 01:00:00+0100",
        "Wed, 26 Nov 2025 00:00:00 GMT",
        "Wed, 26 Nov 2025 01:00:00 +0100",
        {"$date": "2025-11-26T00:00:00Z"},
        {"$date": 1764115200_000},
        {"$date": {"$numberLong": "1764115200000"}},
    ],
    ids=str,
)
def test_a_time_is_the_moment_that_it_was(said: object) -> None:
    sent, left_out = look({**ITEM, "occurred_at": said}, SentInference)
    assert sent.occurred_at is not None
    assert (sent.occurred_at.timestamp(), left_out) == (1764115200, ())


@pytest.mark.parametrize(
    "said",
    ["yesterday", "Wed", "Wed, 99 Foo", "", "10:00 UTC", 10**25, True, {"$date": None}, "a" * 99],
)
def test_what_is_no_moment_is_named_and_costs_nothing(said: object) -> None:
    sent, left_out = look({**ITEM, "occurred_at": said}, SentInference)
    assert (sent.occurred_at, [one.field for one in left_out]) == (None, ["occurred_at"])


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("up", 1.0),
        ("Thumbs_Up", 1.0),
        (":thumbsdown:", 0.0),
        ("👍🏽", 1.0),
        ("👎", 0.0),
        ("Dislike", 0.0),
        ("false", 0.0),
        ("TRUE", 1.0),
        ("1/5", -0.6),
        ("5 / 5", 1.0),
        ("4.5/5", 0.9),
        ("20%", -0.6),
        ("95 %", 0.95),
    ],
)
def test_a_rating_in_a_word_or_as_a_share(said: str, value: float) -> None:
    sent, left_out = look({"inference_id": "inf_1", "rating": said}, SentFeedback)
    assert sent.value() == pytest.approx(value)
    assert left_out == ()


def test_a_scale_that_is_sent_counts() -> None:
    def rated(rating: str) -> float | None:
        item = {"inference_id": "inf_1", "rating": rating, "scale": {"min": 1, "max": 5}}
        return look(item, SentFeedback)[0].value()

    assert [rated(one) for one in ("up", "down", "5/5", "1/5")] == [1.0, -1.0, 1.0, -1.0]


@pytest.mark.parametrize("said", ["great", "meh", "7/5", "5/0", "4/5/6", "120%", "upper", "🤷"])
def test_a_rating_without_one_meaning_is_refused(said: str) -> None:
    with pytest.raises(Unusable, match="rating"):
        look({"inference_id": "inf_1", "rating": said}, SentFeedback)


VENDORS = {
    "capitals": {"role": "User", "content": "hi"},
    "ShareGPT": {"from": "human", "value": "hi"},
    "Cohere": {"role": "USER", "message": "hi"},
    "ChatGPT's export": {
        "author": {"role": "user"},
        "content": {"content_type": "text", "parts": ["hi"]},
    },
    "LangChain, serialised": {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", "HumanMessage"],
        "kwargs": {"content": "hi", "type": "human"},
    },
    "LangChain, as a dict": {"type": "human", "data": {"content": "hi", "type": "human"}},
    "a bot platform": {"sender": "user", "text": "hi"},
    "OpenAI's Responses": {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi"}],
    },
}


@pytest.mark.parametrize("message", VENDORS.values(), ids=VENDORS)
def test_a_message_of_any_vendor_is_who_said_what(message: dict[str, Any]) -> None:
    item = {"route": "r", "answer": "yo", "messages": [message]}
    packed = item | {"messages": json.dumps([message])}
    for sent in (item, packed):
        assert look(sent, SentInference)[0].conversation() == [("user", "hi")]


@pytest.mark.parametrize("who", ["assistant", "gpt", "ChatBot", "ai", "MODEL"])
def test_who_answered_is_the_assistant(who: str) -> None:
    messages = [{"from": "human", "value": "q"}, {"from": who, "value": "a"}]
    sent = inference(messages=messages, input="")
    assert sent.conversation() == [("user", "q"), ("assistant", "a")]


def test_of_two_places_for_the_question_an_empty_one_is_none() -> None:
    for other in ([], "[]"):
        sent, left_out = look({**ITEM, "messages": other}, SentInference)
        assert sent.conversation() == [("user", "hi")]
        assert [one.field for one in left_out] == ["messages"]
    with pytest.raises(Unusable, match="either 'messages' or 'input'"):
        inference(messages=[{"role": "user", "content": "another"}])


@pytest.mark.parametrize(
    "said",
    [
        {"team": "web", "n": 7},
        '{"team": "web", "n": 7}',
        [{"key": "team", "value": "web"}, {"key": "n", "value": 7}],
        [
            {"key": "team", "value": {"stringValue": "web"}},
            {"key": "n", "value": {"intValue": "7"}},
        ],
    ],
    ids=["an object", "packed", "pairs", "OpenTelemetry"],
)
def test_metadata_is_names_and_texts(said: object) -> None:
    assert inference(metadata=said, latency_ms=-1).metadata == {"team": "web", "n": "7"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$date", "$numberLong", "key", "value", "kwargs", "id", "role", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(anything)
def test_nothing_breaks_the_readers(said: object) -> None:
    time_of(said)
    rating_of(said)
    names_of(said)
    unpacked(said)
    if isinstance(said, dict):
        message_of(said)
