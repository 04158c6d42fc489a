"""Recording inferences: durable, once for each client id, redacted, and only for the tenant of the
key.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from schemas import topics
from schemas.base import BlobRef
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.capture.conftest import Capture

PATH = "/v1/inferences"


def sent(**changes: object) -> dict[str, object]:
    return {
        "route": "support-triage",
        "input": "Where is my parcel?",
        "answer": "delivery",
        "model": "gpt-5",
    } | changes


async def test_one_inference_becomes_one_event(capture: Capture) -> None:
    reply = await capture.post(
        PATH,
        sent(
            latency_ms=12.5,
            prompt_tokens=9,
            completion_tokens=2,
            metadata={"app": "web", "vip": True},
            occurred_at="2026-11-01T10:00:00+01:00",
        ),
    )
    assert reply.status_code == 202
    assert {name: reply.json()[name] for name in ("accepted", "duplicates", "rejected")} == {
        "accepted": 1,
        "duplicates": 0,
        "rejected": [],
    }
    [event] = await capture.events()
    assert event["inference_id"] == reply.json()["inference_ids"][0]
    assert event["inference_id"].startswith("inf_")
    assert (event["tenant"], event["route"], event["arm"], event["outcome"]) == (
        "acme",
        "acme/support-triage",
        "external",
        "external",
    )
    assert event["messages"] == [{"role": "user", "content": "Where is my parcel?"}]
    assert (event["answer"], event["model"], event["latency_ms"]) == ("delivery", "gpt-5", 12.5)
    assert (event["prompt_tokens"], event["completion_tokens"], event["metadata"]) == (
        9,
        2,
        {"app": "web", "vip": "true"},
    )
    assert event["occurred_at"] == "2026-11-01T10:00:00+01:00"


async def test_personal_data_is_gone_before_anything_is_stored(capture: Capture) -> None:
    messages = [
        {"role": "user", "content": "I am ada@example.com"},
        {"role": "assistant", "content": "Call +49 30 1234567"},
    ]
    await capture.post(
        PATH,
        sent(
            input=None,
            messages=messages,
            answer="card 4111 1111 1111 1111",
            metadata={"from": "ada@example.com"},
        ),
    )
    async with capture.service.db.read() as connection:
        [row] = (await connection.execute(capture.service.outbox.table.select())).all()
    event = json.loads(row.payload)
    assert [message["content"] for message in event["messages"]] == ["I am [EMAIL]", "Call [PHONE]"]
    assert (event["answer"], event["metadata"]) == ("card [CARD]", {"from": "[EMAIL]"})


async def test_the_same_client_id_is_recorded_once(capture: Capture) -> None:
    first = await capture.post(PATH, sent(client_id="c-1"))
    again = await capture.post(PATH, sent(client_id="c-1"))
    assert again.status_code == 202
    assert (again.json()["accepted"], again.json()["duplicates"]) == (0, 1)
    assert again.json()["inference_ids"] == first.json()["inference_ids"]
    assert len(await capture.events()) == 1


async def test_without_a_client_id_each_request_counts(capture: Capture) -> None:
    ids = {(await capture.post(PATH, sent())).json()["inference_ids"][0] for _ in range(3)}
    assert len(ids) == len(await capture.events()) == 3


async def test_a_repeat_within_a_batch_is_a_duplicate(capture: Capture) -> None:
    reply = (
        await capture.post(
            PATH, {"inferences": [sent(client_id="a"), sent(client_id="b"), sent(client_id="a")]}
        )
    ).json()
    assert (reply["accepted"], reply["duplicates"]) == (2, 1)
    assert reply["inference_ids"][0] == reply["inference_ids"][2] != reply["inference_ids"][1]


async def test_concurrent_repeats_agree_on_one_inference(capture: Capture) -> None:
    async def batch(shift: int) -> list[str]:
        # each in another order: no two transactions may wait for each other
        ids = [f"c-{(n + shift) % 60}" for n in range(60)]
        reply = await capture.post(PATH, {"inferences": [sent(client_id=one) for one in ids]})
        return [
            f"{one} {inference}"
            for one, inference in zip(ids, reply.json()["inference_ids"], strict=True)
        ]

    async def single(number: int) -> list[str]:
        reply = await capture.post(PATH, sent(client_id=f"c-{number}"))
        return [f"c-{number} {reply.json()['inference_ids'][0]}"]

    answers = await asyncio.gather(
        *(batch(shift) for shift in range(0, 60, 10)), *(single(number) for number in range(60))
    )
    assert len({pair for pairs in answers for pair in pairs}) == len(await capture.events()) == 60


async def test_a_batch_of_a_thousand_is_stored_in_order(capture: Capture) -> None:
    reply = await capture.post(
        PATH, {"inferences": [sent(input=f"message {n}") for n in range(1000)]}
    )
    assert reply.json()["accepted"] == 1000
    assert [event["messages"][0]["content"] for event in await capture.events()] == [
        f"message {n}" for n in range(1000)
    ]


async def test_bad_items_are_named_and_good_ones_kept(capture: Capture) -> None:
    items = [
        sent(),
        sent(answer=None),
        sent(route="globex/support-triage"),
        sent(route="nowhere"),
        "text",
        sent(input=None),
        sent(input="last"),
    ]
    reply = (await capture.post(PATH, {"inferences": items})).json()
    errors = {rejection["index"]: rejection["error"] for rejection in reply["rejected"]}
    assert (reply["accepted"], sorted(errors)) == (2, [1, 2, 3, 4, 5])
    assert errors[1] == "answer: Input should be a valid string"
    assert "no route 'globex/support-triage'" in errors[2]
    assert "'ratchet routes create FILE'" in errors[3]
    assert errors[5] == "send either 'messages' or 'input'"
    assert [one is None for one in reply["inference_ids"]] == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
    ]


async def test_when_nothing_is_accepted_the_status_says_so(capture: Capture) -> None:
    reply = await capture.post(PATH, {"inferences": [sent(answer=None), sent(route="nowhere")]})
    assert reply.status_code == 422
    assert (reply.json()["error"], reply.json()["accepted"], len(reply.json()["rejected"])) == (
        "NothingAccepted",
        0,
        2,
    )
    assert await capture.events() == []


async def test_tenants_do_not_share_client_ids(capture: Capture) -> None:
    ours = await capture.post(PATH, sent(client_id="c-1"))
    theirs = await capture.post(PATH, sent(client_id="c-1"), tenant="globex")
    assert theirs.json()["accepted"] == 1
    assert theirs.json()["inference_ids"] != ours.json()["inference_ids"]
    assert [event["tenant"] for event in await capture.events()] == ["acme", "globex"]


async def test_a_large_body_travels_by_reference(small: Capture) -> None:
    text = "ada@example.com " + "a long letter " * 30_000
    await small.post(PATH, sent(input=text))
    [event] = await small.events()
    assert (event["messages"], event["answer"]) == ([], "")
    content = json.loads(
        BlobStore(small.service.settings.artifacts_url).get_bytes(BlobRef(**event["content"]))
    )
    assert content == {
        "messages": [{"role": "user", "content": text.replace("ada@example.com", "[EMAIL]")}],
        "answer": "delivery",
    }


async def test_gzip_bodies_are_unpacked(small: Capture) -> None:
    body = json.dumps({"inferences": [sent(), sent()]}).encode()
    two_members = gzip.compress(body[:40]) + gzip.compress(body[40:])
    for packed in (gzip.compress(body), two_members):
        assert (await small.post(PATH, packed, **{"content-encoding": "gzip"})).json()[
            "accepted"
        ] == 2


async def test_openai_messages_are_understood(small: Capture) -> None:
    messages = [
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "name": "ada",
            "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}],
        },
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "t"},
    ]
    await small.post(PATH, sent(input=None, messages=messages))
    [event] = await small.events()
    assert [(message["role"], message["content"]) for message in event["messages"]] == [
        ("system", "Be kind."),
        ("user", "Hi\nthere"),
        ("assistant", ""),
        ("tool", "42"),
    ]


def call(arguments: str, name: str = "find", call_id: str = "c1") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


async def test_calls_of_tools_and_their_results_are_kept(small: Capture) -> None:
    messages = [
        {"role": "user", "content": "Where is it?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                call('{"mail": "ada@example.com", "card": 4111111111111111}'),
                call("", "now", "c2"),
            ],
        },
        {"role": "tool", "content": "Hamburg", "tool_call_id": "c1", "name": "find"},
    ]
    answer = await small.post(PATH, sent(input=None, messages=messages))
    assert "left_out" not in answer.text or answer.json().get("left_out") in ([], None)
    [event] = await small.events()
    user, assistant, result = event["messages"]
    assert user == {"role": "user", "content": "Where is it?"}
    first, second = assistant["tool_calls"]
    assert json.loads(first["arguments"]) == {"mail": "[EMAIL]", "card": 4000000000000000}
    assert second == {"id": "c2", "name": "now", "arguments": "{}"}
    assert (result["tool_call_id"], result["name"]) == ("c1", "find")


@pytest.mark.parametrize(
    "calls",
    [
        [call('{"a": ')],
        [call("[1]")],
        [call("{}", name="a b")],
        [call("{}"), {"id": "c2"}],
        [call("{}", call_id="")],
    ],
)
async def test_calls_that_no_template_could_take_have_a_placeholder(
    small: Capture, calls: list
) -> None:
    messages = [
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "Hm.", "tool_calls": calls},
    ]
    await small.post(PATH, sent(input=None, messages=messages))
    [event] = await small.events()
    assert "tool_calls" not in event["messages"][1]
    assert event["messages"][1]["content"].startswith("Hm.\n[tool call")


async def test_a_route_is_known_as_soon_as_it_was_heard_of(small: Capture) -> None:
    assert (await small.post(PATH, sent(route="brand-new"))).status_code == 422
    async with small.service.db.transaction() as tx:
        event = factories.route_changed(
            route="acme/brand-new", spec=factories.spec(name="acme/brand-new")
        )
        await small.service.handlers[topics.ROUTE_CHANGED](tx, event)
    assert (await small.post(PATH, sent(route="brand-new"))).status_code == 202


async def test_stats_count_what_this_tenant_sent(small: Capture) -> None:
    await small.post(
        PATH, {"inferences": [sent(client_id="a"), sent(client_id="a"), sent(answer=None)]}
    )
    stats = {
        tenant: (
            (
                await small.http.get(
                    "/v1/stats", headers={"authorization": f"Bearer {small.keys[tenant]}"}
                )
            ).json()
        )
        for tenant in ("acme", "globex")
    }
    assert stats == {
        "acme": {"accepted": 1, "duplicates": 1, "rejected": 1},
        "globex": {"accepted": 0, "duplicates": 0, "rejected": 0},
    }
