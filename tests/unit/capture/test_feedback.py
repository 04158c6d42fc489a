"""Feedback: on any answer, also before its inference is known; once for each client id; never
across tenants.
"""

from __future__ import annotations

import pytest

from tests.unit.capture.conftest import Capture

PATH = "/v1/feedback"


def about(**changes: object) -> dict[str, object]:
    return {"inference_id": "0190f3a2-unseen", "route": "support-triage"} | changes


async def recorded(capture: Capture, tenant: str = "acme", route: str = "other") -> str:
    reply = await capture.post(
        "/v1/inferences", {"route": route, "input": "q", "answer": "a"}, tenant=tenant
    )
    return reply.json()["inference_ids"][0]


async def test_each_judgement_becomes_an_event(capture: Capture) -> None:
    reply = await capture.post(
        PATH,
        about(
            rating=False,
            comment="wrong, call +49 30 1234567",
            correction="refund",
            outcome="escalated",
        ),
    )
    assert (reply.status_code, reply.json()["accepted"]) == (202, 1)
    events = {event["kind"]: event for event in await capture.events()}
    assert {kind: (event["value"], event["text"]) for kind, event in events.items()} == {
        "rating": (0.0, None),
        "comment": (None, "wrong, call [PHONE]"),
        "correction": (None, "refund"),
        "outcome": (None, "escalated"),
    }
    assert {event["inference_id"] for event in events.values()} == {"0190f3a2-unseen"}
    assert {event["source"][:4] for event in events.values()} == {"key_"}
    assert len({event["feedback_id"] for event in events.values()}) == 4


async def test_the_same_client_id_is_recorded_once(capture: Capture) -> None:
    first = await capture.post(PATH, about(client_id="f-1", rating=1))
    again = await capture.post(
        PATH, {"feedback": [about(client_id="f-1", rating=1), about(client_id="f-2", rating=0)]}
    )
    assert (again.json()["accepted"], again.json()["duplicates"]) == (1, 1)
    assert again.json()["feedback_ids"][0] == first.json()["feedback_ids"][0]
    assert len(await capture.events()) == 2


async def test_the_route_of_a_recorded_inference_is_known(capture: Capture) -> None:
    inference_id = await recorded(capture)
    await capture.post(PATH, {"inference_id": inference_id, "outcome": 3.5})
    event = (await capture.events())[-1]
    assert (event["route"], event["kind"], event["value"], event["inference_id"]) == (
        "acme/other",
        "outcome",
        3.5,
        inference_id,
    )


async def test_an_unseen_inference_needs_a_route_unless_there_is_only_one(small: Capture) -> None:
    reply = await small.post(PATH, {"inference_id": "unseen", "rating": 1})
    assert (reply.status_code, "add 'route'" in reply.json()["detail"]) == (422, True)
    assert (
        await small.post(PATH, {"inference_id": "unseen", "rating": 1}, tenant="globex")
    ).status_code == 202


async def test_another_tenants_inference_cannot_be_judged(capture: Capture) -> None:
    inference_id = await recorded(capture, tenant="globex", route="support-triage")
    reply = await capture.post(PATH, about(inference_id=inference_id, rating=0))
    assert (reply.status_code, reply.json()["detail"]) == (
        422,
        f"item 0: no inference '{inference_id}'",
    )
    assert [event["tenant"] for event in await capture.events()] == ["globex"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "send at least one of"),
        ({"rating": "great"}, "rating: Input should be a valid number"),
        (
            {"rating": 1, "inference_id": ""},
            "inference_id: String should have at least 1 character",
        ),
        ({"rating": 1, "route": "globex/support-triage"}, "no route 'globex/support-triage'"),
        ({"comment": "x" * 20_000}, "comment: String should have at most 16384 characters"),
        ({"comment": ""}, "comment: String should have at least 1 character"),
        ({"source": "someone else"}, "source: is no field of feedback; send at least one of"),
        ({"rating": 1, "scale": "five"}, "rating: without its scale"),
        ({"rating": 6, "scale": {"max": 5}}, "rating: is not on its scale"),
        ({"rating": 1, "scale": {"min": 1, "max": 1}}, "are the same"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_bad_feedback_is_refused_with_the_reason(
    small: Capture, change: dict[str, object], says: str
) -> None:
    reply = await small.post(PATH, about(**change))
    assert reply.status_code == 422
    assert says in reply.json()["detail"]
