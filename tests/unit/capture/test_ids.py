"""An app's own id is known once per application and route, with its content: two apps that count 1,
2, 3 lose nothing, and a changed vote is never taken for a repeat.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, text

from services.capture.recording import digest
from shared.http.auth import new_key
from tests.unit.capture.conftest import Capture
from tests.unit.capture.test_feedback import about
from tests.unit.capture.test_inferences import PATH, sent

FEEDBACK = "/v1/feedback"


def key_for(capture: Capture, name: str, application: str | None = None) -> str:
    """Make another key of acme's, as `ratchet keys create` does."""
    secret, record = new_key(name, "acme", {"capture:write", "feedback:write"}, application)
    keyring = capture.service.api.state.keyring
    records = json.loads(keyring.path.read_text())["keys"]
    keyring.path.write_text(json.dumps({"keys": [*records, record.model_dump(mode="json")]}))
    keyring._checked = keyring._modified = -1.0
    return secret


async def post(capture: Capture, secret: str, path: str, body: Any) -> httpx.Response:
    return await capture.http.post(path, json=body, headers={"authorization": f"Bearer {secret}"})


async def test_two_applications_that_count_lose_nothing(capture: Capture) -> None:
    shop, desk = key_for(capture, "shop"), key_for(capture, "desk")
    for secret, app in ((shop, "shop"), (desk, "desk")):
        items = [sent(client_id=number, input=f"{app} {number}") for number in range(1, 4)]
        reply = (await post(capture, secret, PATH, {"inferences": items})).json()
        assert (reply["accepted"], reply["duplicates"], reply["rejected"]) == (3, 0, [])
    asked = [event["messages"][0]["content"] for event in await capture.events()]
    assert sorted(asked) == sorted(f"{app} {n}" for app in ("shop", "desk") for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("name", "application", "is_same"),
    [
        ("shop", None, True),
        ("shop-2026-11", "shop", True),
        ("shop-2", None, False),
        ("shop", "desk", False),
    ],
)
async def test_a_rotated_key_stays_the_same_application(
    small: Capture, name: str, application: str | None, is_same: bool
) -> None:
    old = key_for(small, "shop")
    first = (await post(small, old, PATH, sent(client_id="c-1"))).json()
    new = key_for(small, name, application)
    again = (await post(small, new, PATH, sent(client_id="c-1"))).json()
    assert (again["duplicates"] == 1) is is_same
    assert (again["inference_ids"] == first["inference_ids"]) is is_same


async def test_the_same_id_on_another_route_is_another(capture: Capture) -> None:
    one = (await capture.post(PATH, sent(client_id="1"))).json()
    other = (await capture.post(PATH, sent(client_id="1", route="other"))).json()
    assert (one["accepted"], other["accepted"]) == (1, 1)
    assert one["inference_ids"] != other["inference_ids"]
    assert [event["route"] for event in await capture.events()] == [
        "acme/support-triage",
        "acme/other",
    ]


CHANGED = {
    "the answer": (PATH, sent(client_id="1"), {"answer": "refund"}),
    "the question": (PATH, sent(client_id="1"), {"input": "Where is it?"}),
    "who said it": (
        PATH,
        sent(client_id="1", input=None, messages=[{"role": "user", "content": "a"}]),
        {"messages": [{"role": "system", "content": "a"}]},
    ),
    "a vote": (FEEDBACK, about(client_id="1", rating=1), {"rating": 0}),
    "a correction": (FEEDBACK, about(client_id="1", correction="a"), {"correction": "b"}),
    "one more word": (FEEDBACK, about(client_id="1", rating=0), {"comment": "bad"}),
    "its scale": (FEEDBACK, about(client_id="1", rating=1), {"scale": 5}),
    "what it is about": (FEEDBACK, about(client_id="1", rating=0), {"inference_id": "another"}),
}


@pytest.mark.parametrize("name", CHANGED)
async def test_the_same_id_with_other_content_is_a_conflict(capture: Capture, name: str) -> None:
    path, first, change = CHANGED[name]
    assert (await capture.post(path, first)).status_code == 202
    reply = await capture.post(path, first | change)
    assert (reply.status_code, reply.json()["error"]) == (409, "NothingAccepted")
    assert "under a client_id of its own" in reply.json()["detail"]
    before = await capture.events()
    mended = (await capture.post(path, first | change | {"client_id": "2"})).json()
    assert mended["accepted"] == 1
    assert len(await capture.events()) > len(before)


@pytest.mark.parametrize(
    "change",
    [
        {"latency_ms": 77},
        {"metadata": {"attempt": "2"}},
        {"occurred_at": "2026-11-01T10:00:00Z"},
        {"model": None},
        {"unknown": 1},
    ],
    ids=str,
)
async def test_a_side_field_that_changed_is_a_repeat(
    small: Capture, change: dict[str, Any]
) -> None:
    await small.post(PATH, sent(client_id="1"))
    reply = (await small.post(PATH, sent(client_id="1") | change)).json()
    assert (reply["duplicates"], reply["rejected"]) == (1, [])


async def test_in_a_batch_the_conflict_alone_is_named(capture: Capture) -> None:
    await capture.post(FEEDBACK, about(client_id="old", rating=1))
    votes = [
        about(client_id="old", rating=0),
        about(client_id="a", rating=1),
        about(client_id="a", rating=1),
        about(client_id="a", rating=0),
    ]
    reply = await capture.post(FEEDBACK, {"feedback": votes})
    body = reply.json()
    assert (reply.status_code, body["accepted"], body["duplicates"]) == (202, 1, 1)
    assert [one["index"] for one in body["rejected"]] == [0, 3]
    assert [one is None for one in body["feedback_ids"]] == [True, False, False, True]
    assert [event["value"] for event in await capture.events()] == [1.0, 1.0]


async def store_of_old(capture: Capture, kind: str, client_id: str, public_id: str) -> None:
    """As release 0.1 stored it: under a key of tenant and id, without a content."""
    row = {
        "key": digest(kind, "acme", client_id),
        "public_id": public_id,
        "tenant": "acme",
        "route": "acme/support-triage",
    }
    async with capture.service.db.transaction() as tx:
        table = capture.service.parts.intake.ledger.table
        await tx.execute(insert(table).values(row))


async def test_what_the_last_release_stored_is_known(capture: Capture) -> None:
    """It is not known with which content: a retry across the upgrade must not double."""
    await store_of_old(capture, "inference", "c-1", "inf_old")
    await store_of_old(capture, "feedback", "v-1", "fb_old")
    items = [sent(client_id="c-1"), sent(client_id="c-2"), sent(client_id="c-1", route="other")]
    reply = (await capture.post(PATH, {"inferences": items})).json()
    assert (reply["accepted"], reply["duplicates"], reply["rejected"]) == (2, 1, [])
    assert reply["inference_ids"][0] == "inf_old"
    vote = (await capture.post(FEEDBACK, about(client_id="v-1", rating=0))).json()
    assert (vote["duplicates"], vote["feedback_ids"]) == (1, ["fb_old"])
    again = (await capture.post(PATH, {"inferences": items})).json()
    assert (again["accepted"], again["duplicates"]) == (0, 3)


async def test_old_ids_cost_nothing_where_there_are_none(capture: Capture) -> None:
    """The control beside it: the index that says so is the one that is looked at."""
    await capture.post(PATH, sent(client_id="c-1"))
    ledger = capture.service.parts.intake.ledger
    async with capture.service.db.read() as connection:
        counted = await connection.execute(
            text("select count(*) from ledger where content is null")
        )
        assert counted.scalar_one() == 0
        if connection.dialect.name == "sqlite":
            plan = (
                await connection.execute(
                    text("explain query plan select key from ledger where content is null limit 1")
                )
            ).all()
            assert "ledger_old" in str(plan)
    assert ledger.table.c.content.nullable
