"""One bad item costs no other, and a side field never costs the main fact: what could not be used
is named in the receipt.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.capture.conftest import Capture
from tests.unit.capture.test_feedback import about
from tests.unit.capture.test_inferences import PATH, sent

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def raw(item: object) -> bytes:
    return json.dumps(item).encode()


def batch(*bad: bytes, good: int = 99, name: str = "inferences") -> bytes:
    """A hundred items with the bad ones among them, as they come: bytes that may be no JSON."""
    items = [raw(sent(client_id=f"c-{n}", input=f"tell me {n}")) for n in range(good)]
    items[50:50] = bad
    return b'{"app": {"inferences": []}, "%s": [%s], "sent": 1}' % (
        name.encode(),
        b", ".join(items),
    )


BAD_ITEMS = {
    "half a surrogate pair": (raw(sent(input="a \ud800 b")), "half of a surrogate pair"),
    "the other half": (raw(sent(answer="\udfff")), "half of a surrogate pair"),
    "a NUL": (raw(sent(answer="a\0b")), "NUL"),
    "too deep": (b'{"answer":' + b"[" * 300 + b"]" * 300 + b"}", "answer"),
    "much too deep": (b'{"answer":' + b"[" * 5000 + b"]" * 5000 + b"}", "too deeply"),
    "beyond all": (b'{"answer":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "more lists"),
    "a text": (b'"text with ] and \\" and ,"', "an item is an object"),
    "null": (b"null", "an item is an object"),
    "a list": (b"[1, 2]", "an item is an object"),
    "no JSON": (b'{"answer": }', "not valid JSON"),
    "not UTF-8": (b'{"answer": "\xe9t\xe9"}', "not UTF-8"),
    "an endless number": (b'{"answer": ' + b"9" * 5000 + b"}", ""),
    "over its limit": (raw(sent(answer="x" * (4 * 1024 * 1024 + 1))), "at most"),
    "too many parts": (
        raw(sent(input=None, messages=[{"role": "user", "content": ["x"] * 501}])),
        "500 parts",
    ),
    "NaN for an answer": (b'{"route": "support-triage", "input": "a", "answer": NaN}', "answer"),
}


@pytest.mark.parametrize("name", BAD_ITEMS)
async def test_one_bad_item_is_named_and_the_others_are_taken_once(
    small: Capture, name: str
) -> None:
    bad, says = BAD_ITEMS[name]
    small.service.api.user_middleware[0].kwargs["most"] = 16 * 1024 * 1024
    for again in (False, True):
        reply = await small.post(PATH, batch(bad))
        body = reply.json()
        assert reply.status_code == 202, body
        assert (body["accepted"], body["duplicates"]) == ((0, 99) if again else (99, 0))
        assert [one["index"] for one in body["rejected"]] == [50]
        assert says in body["rejected"][0]["error"]
        assert [one is None for one in body["inference_ids"]].index(True) == 50
    assert len(await small.events()) == 99


async def test_every_bad_item_is_named(small: Capture) -> None:
    bad = [item for name, (item, _) in BAD_ITEMS.items() if "limit" not in name]
    body = (await small.post(PATH, batch(*bad))).json()
    assert body["accepted"] == 99
    assert [one["index"] for one in body["rejected"]] == [*range(50, 50 + len(bad))]


@pytest.mark.parametrize("name", sorted(set(BAD_ITEMS) - {"a text", "null", "a list"}))
async def test_one_bad_item_alone_is_refused_in_words(small: Capture, name: str) -> None:
    reply = await small.post(PATH, BAD_ITEMS[name][0])
    assert reply.status_code in (400, 413, 422)
    assert reply.json()["detail"]
    assert await small.events() == []


async def test_a_bad_vote_among_votes_is_named(small: Capture) -> None:
    votes = [raw(about(client_id=f"v-{n}", rating=0)) for n in range(3)]
    votes.insert(1, raw(about(correction="\ud83d")))
    body = b'{"feedback": [' + b",".join(votes) + b"]}"
    reply = (await small.post("/v1/feedback", body)).json()
    assert (reply["accepted"], [one["index"] for one in reply["rejected"]]) == (3, [1])


SIDE_FIELDS: dict[str, tuple[dict[str, Any], str, str | None, dict[str, Any]]] = {
    # what is sent beside the main facts; the field and the reason in the receipt; what is recorded
    "a null": ({"metadata": {"team": None}}, "metadata.team", "null", {"metadata": {}}),
    "no metadata": ({"metadata": None}, "metadata", "null", {"metadata": {}}),
    "a list of metadata": ({"metadata": ["a"]}, "metadata", "no object", {"metadata": {}}),
    "nested": (
        {"metadata": {"a": {"b": [1, "x"]}, "c": "d"}},
        "metadata.a",
        "kept as JSON",
        {"metadata": {"a": '{"b":[1,"x"]}', "c": "d"}},
    ),
    "a long value": (
        {"metadata": {"a": "x" * 1025, "c": "d"}},
        "metadata.a",
        "at most 1024",
        {"metadata": {"c": "d"}},
    ),
    "a long name": (
        {"metadata": {"n" * 65: "x", "c": "d"}},
        f"metadata.{'n' * 64}",
        "no name",
        {"metadata": {"c": "d"}},
    ),
    "an empty name": ({"metadata": {"": "x"}}, "metadata.", "no name", {"metadata": {}}),
    "a NUL in a value": (
        {"metadata": {"a": "x\0", "c": "d"}},
        "metadata.a",
        "NUL",
        {"metadata": {"c": "d"}},
    ),
    "half a pair in a value": (
        {"metadata": {"a": "x\ud800", "c": "d"}},
        "metadata.a",
        "surrogate",
        {"metadata": {"c": "d"}},
    ),
    "half a pair in a name": (
        {"metadata": {"\ud800": "x", "c": "d"}},
        "metadata.?",
        "surrogate",
        {"metadata": {"c": "d"}},
    ),
    "NaN": ({"metadata": {"a": float("nan")}}, "metadata.a", "finite", {"metadata": {}}),
    "no model": ({"model": None}, "model", "'external' is recorded", {"model": "external"}),
    "an empty model": ({"model": ""}, "model", "'external' is recorded", {"model": "external"}),
    "a model of parts": ({"model": {"id": "m"}}, "model", "string", {"model": "external"}),
    "no zone": (
        {"occurred_at": "2026-11-01T10:00:00"},
        "occurred_at",
        "taken as UTC",
        {"occurred_at": "2026-11-01T10:00:00Z"},
    ),
    "tomorrow": ({"occurred_at": TOMORROW}, "occurred_at", "future", {}),
    "no time": ({"occurred_at": "yesterday"}, "occurred_at", "time of arrival", {}),
    "a time before all": ({"occurred_at": "1970-01-01T00:00:00Z"}, "occurred_at", "2000", {}),
    "negative": ({"latency_ms": -1}, "latency_ms", "greater than", {"latency_ms": None}),
    "endless": ({"latency_ms": float("inf")}, "latency_ms", "finite", {"latency_ms": None}),
    "a unit": ({"latency_ms": "412ms"}, "latency_ms", "number", {"latency_ms": None}),
    "half a token": ({"prompt_tokens": 1.5}, "prompt_tokens", "integer", {"prompt_tokens": None}),
    "words": ({"prompt_tokens": "1,204"}, "prompt_tokens", "integer", {"prompt_tokens": None}),
    "too many": ({"completion_tokens": 2**40}, "completion_tokens", "less", {}),
    "unknown": ({"session": "s-1"}, "session", "no field of an inference", {}),
    "another tenant": ({"tenant": "globex"}, "tenant", "no field", {"tenant": "acme"}),
    # nothing is lost, and nothing is said
    "tokens as text": ({"prompt_tokens": "12"}, "", None, {"prompt_tokens": 12}),
    "metadata of all kinds": (
        {"metadata": {"n": 7, "yes": True, "f": 0.5}},
        "",
        None,
        {"metadata": {"n": "7", "yes": "true", "f": "0.5"}},
    ),
}


@pytest.mark.parametrize("name", SIDE_FIELDS)
async def test_a_side_field_never_costs_the_main_fact(small: Capture, name: str) -> None:
    change, field, reason, recorded = SIDE_FIELDS[name]
    reply = await small.post(PATH, sent() | change)
    assert reply.status_code == 202, reply.text
    [event] = await small.events()
    assert (event["answer"], event["messages"][0]["content"]) == ("delivery", "Where is my parcel?")
    assert {key: event[key] for key in recorded} == recorded
    if reason is None:
        assert reply.json()["left_out"] == []
        return
    [left_out] = reply.json()["left_out"]
    assert (left_out["index"], left_out["field"]) == (0, field)
    assert reason in left_out["reason"]


async def test_too_much_metadata_is_counted_and_not_listed(small: Capture) -> None:
    many = {f"n{number}": "x" for number in range(40)}
    reply = (await small.post(PATH, sent(metadata=many))).json()
    assert [one["reason"] for one in reply["left_out"]] == ["8 of 40 left out: at most 32 are kept"]
    [event] = await small.events()
    assert len(event["metadata"]) == 32


async def test_a_receipt_is_no_copy_of_the_request(small: Capture) -> None:
    swollen = {f"unknown-{number}": "ada@example.com" for number in range(5000)}
    reply = await small.post(PATH, sent() | swollen | {"metadata": dict.fromkeys(swollen)})
    assert (reply.status_code, reply.json()["accepted"]) == (202, 1)
    assert len(reply.json()["left_out"]) <= 20
    assert "ada@example.com" not in reply.text


async def test_of_a_batch_each_item_has_its_own_word(small: Capture) -> None:
    items = [sent(model=None), sent(), sent(answer=None, model=None), sent(latency_ms=-1, model="")]
    reply = (await small.post(PATH, {"inferences": items})).json()
    assert [(one["index"], one["field"]) for one in reply["left_out"]] == [
        (0, "model"),
        (3, "model"),
        (3, "latency_ms"),
    ]
    assert [one["index"] for one in reply["rejected"]] == [2]


@pytest.mark.parametrize(
    ("change", "left_out", "kinds"),
    [
        ({"rating": 0, "comment": ""}, ["comment"], {"rating"}),
        ({"rating": "great", "comment": "nice"}, ["rating"], {"comment"}),
        ({"rating": None, "outcome": False}, [], {"outcome"}),
        ({"rating": 1, "comment": "x" * 20_000}, ["comment"], {"rating"}),
        ({"rating": 0, "correction": "a\0"}, ["correction"], {"rating"}),
        ({"rating": 0, "comment": ["a"]}, ["comment"], {"rating"}),
        ({"rating": 9, "scale": 5, "comment": "wow"}, ["rating"], {"comment"}),
        ({"rating": 1, "scale": "five", "comment": "bad"}, ["rating", "scale"], {"comment"}),
        ({"rating": 0, "occurred_at": "now"}, ["occurred_at"], {"rating"}),
        ({"rating": 0, "user": "u-1"}, ["user"], {"rating"}),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_of_feedback_what_can_be_used_is_taken(
    small: Capture, change: dict[str, Any], left_out: list[str], kinds: set[str]
) -> None:
    reply = await small.post("/v1/feedback", about(**change))
    assert reply.status_code == 202, reply.text
    assert sorted(one["field"] for one in reply.json()["left_out"]) == left_out
    assert {event["kind"] for event in await small.events()} == kinds


@pytest.mark.parametrize(
    ("rating", "scale", "is_bad"),
    [
        (1, {"min": 1, "max": 5}, True),
        (2, {"min": 1, "max": 5}, True),
        (3, {"min": 1, "max": 5}, False),
        (5, {"min": 1, "max": 5}, False),
        (1, {"max": 5}, True),
        (1, 5, True),
        (4, [1, 5], False),
        (0.2, {"max": 1}, True),
        (0.8, {"min": 0, "max": 1}, False),
        (6, {"max": 10}, False),
        (2, {"min": -5, "max": 5}, False),
        (-2, {"min": -5, "max": 5}, True),
        (5, {"min": 6, "max": 1}, True),
        (2, {"min": 6, "max": 1}, False),
        (True, {"min": 1, "max": 5}, False),
        (False, {"min": 1, "max": 5}, True),
        ("1", {"min": 1, "max": 5}, True),
        (0, None, True),
        (False, None, True),
        (1, None, False),
    ],
)
async def test_a_rating_is_read_on_its_scale(
    small: Capture, rating: object, scale: object, is_bad: bool
) -> None:
    """Reviewers are asked to look where a rating is at most 0 (services/review/intake.py)."""
    await small.post("/v1/feedback", about(rating=rating, scale=scale))
    [event] = await small.events()
    assert (event["value"] <= 0) is is_bad
    assert -1 <= event["value"] <= 1


async def test_stars_keep_their_order(small: Capture) -> None:
    votes = [about(rating=stars, scale={"min": 1, "max": 5}) for stars in range(1, 6)]
    await small.post("/v1/feedback", {"feedback": votes})
    values = [event["value"] for event in await small.events()]
    assert values == sorted(values) == [-1.0, -0.5, 0.5, 0.75, 1.0]
