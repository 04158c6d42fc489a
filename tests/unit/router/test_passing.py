"""Models that are no routes pass through to other upstreams, recorded where that is wanted."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from schemas.events import InferenceRecorded
from services.router import recordings
from services.router.app import build
from services.router.settings import Settings
from services.router.upstream_settings import UpstreamsUnusable, upstreams_in
from shared.service import Service
from tests import factories
from tests.unit.router import other_upstream
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import served, until
from tests.unit.router.other_upstream import CALL, TEXT, OtherUpstreamStandIn, chat, chunk, events

MODEL = "gpt-big"
ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "Where is my parcel?"}]}
KEY = "sk-of-the-router"


@pytest.fixture
async def other() -> OtherUpstreamStandIn:
    return OtherUpstreamStandIn()


@pytest.fixture
async def url(other: OtherUpstreamStandIn) -> AsyncIterator[str]:
    async with served(other.app) as url:
        yield url


def write(folder: Path, *upstreams: dict[str, Any]) -> Path:
    path = folder / "upstreams.json"
    path.write_text(json.dumps({"upstreams": upstreams}))
    return path


def upstream(address: str, **more: Any) -> dict[str, Any]:
    return {
        "name": "bigco",
        "url": f"{address}/v1",
        "key_env": "BIGCO_KEY",
        "models": [MODEL, "gpt-*", "vendor/*", "embed-small"],
        "tenants": ["acme"],
        "first_byte_seconds": 5,
        "idle_seconds": 0.5,
    } | more


@pytest.fixture
def more() -> dict[str, Any]:
    """What a test changes of its upstream."""
    return {}


@pytest.fixture
def settings(
    settings: dict[str, Any],
    url: str,
    more: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    monkeypatch.setenv("BIGCO_KEY", KEY)
    return settings | {"upstreams_file": write(tmp_path, upstream(url, **more))}


def streamed(http: httpx.AsyncClient) -> AbstractAsyncContextManager[httpx.Response]:
    return http.stream("POST", "/v1/chat/completions", json=ASKED | {"stream": True})


async def recorded(router: Running, count: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        while len(found := await router.events("InferenceRecorded")) < count:
            await asyncio.sleep(0.02)
    return found


async def test_a_clients_own_objects_come_back(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    async with router.openai() as client:
        answer = await client.chat.completions.create(**ASKED, n=2, temperature=0.3)
        vectors = await client.embeddings.create(model="embed-small", input=["a", "b"])
    assert answer.choices[0].message.content == TEXT and answer.id == "chatcmpl-1"
    assert vectors.data[0].embedding == [0.25, -0.5]
    door, headers, body = other.asked[0]
    assert (door, body["n"], body["temperature"]) == ("chat/completions", 2, 0.3)
    # The router's key goes out, and the app's never.
    assert headers["authorization"] == f"Bearer {KEY}"
    assert router.secrets["acme"] not in str(other.asked)
    assert other.asked[1][0] == "embeddings" and await router.events("InferenceRecorded") == []


@pytest.mark.parametrize(
    ("door", "body"),
    [
        ("responses", {"input": "Where?", "tools": [{"type": "web_search"}]}),
        ("completions", {"prompt": [1, 2, 3], "suffix": "x"}),
        ("embeddings", {"input": [[1, 2], [3]], "dimensions": 2}),
        ("chat/completions", {"messages": [], "something_new": {"deep": [1.5, None]}}),
    ],
)
async def test_what_a_route_would_refuse_passes_by_every_door(
    router: Running, other: OtherUpstreamStandIn, door: str, body: dict
) -> None:
    async with router.http() as http:
        answer = await http.post(f"/v1/{door}", json=body | {"model": MODEL})
    assert answer.status_code == 200
    assert other.asked[0][0] == door and other.asked[0][2] == body | {"model": MODEL}


# On a busy machine a pause of 0.3 s has taken more than the half second that others may be idle.
@pytest.mark.parametrize("more", [{"idle_seconds": 5.0}])
async def test_a_stream_is_passed_on_as_it_comes(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    other.between = 0.3
    at: list[float] = []
    loop = asyncio.get_running_loop()
    async with router.http() as http, streamed(http) as r:
        said = b""
        async for piece in r.aiter_raw():
            at.append(loop.time())
            said += piece
    assert said == b"".join(other_upstream.PIECES)
    # The first piece was here a second before the last was made.
    assert at[-1] - at[0] > 0.6 and r.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"retry-after": "7", "x-request-id": "r1", "x-ratelimit-remaining-requests": "0"}),
        (400, {"x-request-id": "r2"}),
        (500, {"x-should-retry": "false"}),
        (403, {}),
    ],
)
async def test_status_body_and_headers_are_the_upstreams(
    router: Running, other: OtherUpstreamStandIn, status: int, headers: dict[str, str]
) -> None:
    # What holds for one connection, or for the upstream's own site, ends here.
    private = {"set-cookie": "a=b", "alt-svc": "h3", "x-private": "1", "keep-alive": "timeout=5"}
    other.status, other.headers = status, headers | private | {"connection": "x-private"}
    other.body = {"error": {"message": "theirs", "type": "t", "param": None, "code": "c"}}
    async with router.http() as http:
        answer = await http.post("/v1/chat/completions", json=ASKED, headers={"accept": "*/*"})
    assert (answer.status_code, answer.json()) == (status, other.body)
    assert {name: answer.headers.get(name) for name in headers} == headers
    assert not private.keys() & answer.headers.keys()
    assert answer.headers["x-ratchet-request-id"].startswith("req_")


async def test_headers_of_the_caller_stay_here(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    sent = {
        "cookie": "a=b",
        "x-api-key": "mine",
        "x-forwarded-for": "10.0.0.1",
        "openai-organization": "org-of-the-app",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "openai-beta": "assistants=v2",
    }
    async with router.http() as http:
        await http.post("/v1/chat/completions", json=ASKED, headers=sent)
    headers = other.asked[0][1]
    assert headers["traceparent"] == sent["traceparent"] and headers["openai-beta"]
    assert not {"cookie", "x-api-key", "x-forwarded-for", "openai-organization"} & headers.keys()


async def test_two_models_in_one_body_are_the_one_that_was_judged(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    body = b'{"model": "not-for-you", "messages": [], "model": "gpt-big"}'
    async with router.http() as http:
        await http.post("/v1/chat/completions", content=body)
    assert other.asked[0][2] == {"model": "gpt-big", "messages": []}


@pytest.mark.parametrize(
    ("model", "tenant", "goes"),
    [
        ("gpt-4o-mini", "acme", True),
        ("vendor/model-7", "acme", True),
        # Another tenant has no upstream, a mistyped route is no model, and no pattern has these.
        ("gpt-big", "globex", False),
        ("acme/support-triaje", "acme", False),
        ("globex/secret", "acme", False),
        ("gpt-x/y", "acme", False),
        ("claude", "acme", False),
    ],
)
async def test_only_what_is_nobodys_route_goes_elsewhere(
    router: Running, other: OtherUpstreamStandIn, model: str, tenant: str, goes: bool
) -> None:
    await router.create(factories.spec(name="globex/secret"))
    async with router.http(tenant) as http:
        for door in ("chat/completions", "embeddings"):
            answer = await http.post(f"/v1/{door}", json=ASKED | {"model": model, "input": "x"})
            assert answer.status_code == (200 if goes else 404)
    assert len(other.asked) == (2 if goes else 0)
    if not goes:
        assert answer.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("more", [{"models": ["*", "globex/*", "acme/*"], "tenants": ["*"]}])
async def test_a_route_is_never_asked_elsewhere(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    await router.create()
    await router.create(factories.spec(name="globex/secret"))
    assert (await router.chat()).status_code == 200
    for model in ("globex/secret", "acme/unknown"):
        assert (await router.chat(model=model)).status_code == 404
    assert other.asked == []
    # The control: what no one has is asked there.
    assert (await router.chat(model="globex/other")).status_code == 200


async def test_who_asks_for_nothing_there_is_hears_what_there_is(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        with pytest.raises(openai.NotFoundError, match=rf"{factories.ROUTE}, {MODEL}, gpt-\*"):
            await client.chat.completions.create(**ASKED | {"model": "claude"})
        with pytest.raises(openai.NotFoundError, match="ROUTER_UPSTREAMS_FILE"):
            await client.embeddings.create(model="claude", input="x")
        listed = {model.id: model.owned_by async for model in client.models.list()}
        one = await client.models.retrieve("gpt-7")
    # A beginning is no name.
    assert listed == {
        factories.ROUTE: "acme",
        MODEL: "bigco",
        "embed-small": "bigco",
    }
    assert one.owned_by == "bigco"
    async with router.openai("globex") as client:
        assert [model async for model in client.models.list()] == []


async def test_a_caller_that_leaves_stops_the_upstream(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    other.silent = 10
    async with router.http() as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=ASKED, timeout=0.3)
    await until(lambda: other.left == 1, 2)
    other.silent, other.between = 0, 0.2
    other.pieces = other_upstream.PIECES[:2] + other_upstream.PIECES[1:2] * 100
    async with router.http() as http, streamed(http) as r:
        async for _ in r.aiter_raw():
            break
    await until(lambda: other.left == 2, 2)


@pytest.mark.parametrize("more", [{"first_byte_seconds": 0.2}])
async def test_an_upstream_that_is_silent_is_a_503_that_names_it(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    other.silent = 5
    async with router.openai() as client:
        with pytest.raises(openai.InternalServerError, match="'bigco' gave no answer") as failed:
            await client.chat.completions.create(**ASKED)
    assert failed.value.status_code == 503 and failed.value.response.headers["retry-after"] == "2"
    async with router.http() as http:
        ready = (await http.get("/health/ready")).json()
    assert ready["other_upstreams"]["bigco"].startswith("away")


@pytest.mark.parametrize(
    ("more", "status", "says"),
    [
        ({"url": "http://127.0.0.1:9/v1"}, 503, "ROUTER_UPSTREAMS_FILE"),
        ({"url": "http://nowhere.invalid/v1"}, 503, "'bigco' gave no answer"),
    ],
)
async def test_an_upstream_that_is_away_is_named(router: Running, status: int, says: str) -> None:
    answer = await router.chat(model=MODEL)
    assert answer.status_code == status and says in answer.json()["error"]["message"]


@pytest.fixture
def full() -> Iterator[int]:
    """The port of somebody who listens, and takes no further connection."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
    yield listener.getsockname()[1]
    for one in (*waiting, listener):
        one.close()


@pytest.fixture
def unconnected(full: int, more: dict[str, Any]) -> None:
    more |= {"url": f"http://127.0.0.1:{full}/v1", "connect_seconds": 0.2, "first_byte_seconds": 60}


async def test_an_upstream_that_cannot_be_reached_in_time_is_named(
    unconnected: None, router: Running
) -> None:
    async with asyncio.timeout(10):
        answer = await router.chat(model=MODEL)
    assert answer.status_code == 503 and "'bigco' gave no answer" in answer.text


async def test_a_refused_key_is_the_operators_to_mend(
    router: Running, other: OtherUpstreamStandIn
) -> None:
    other.status, other.body = 401, {"error": {"message": f"Incorrect API key: {KEY}"}}
    answer = await router.chat(model=MODEL)
    assert answer.status_code == 502 and "BIGCO_KEY" in answer.text and KEY not in answer.text
    other.status, other.headers = 307, {"location": "http://127.0.0.1:9/"}
    answer = await router.chat(model=MODEL)
    assert answer.status_code == 502 and "elsewhere" in answer.text and len(other.asked) == 2


@pytest.mark.parametrize("door", ["chat/completions", "responses"])
async def test_a_stream_that_stops_ends_with_an_error(
    router: Running, other: OtherUpstreamStandIn, door: str
) -> None:
    other.between = 60
    async with router.openai() as client:
        if door == "responses":
            stream = await client.responses.create(model=MODEL, input="x", stream=True)
            last = [event async for event in stream][-1]
            assert last.type == "error" and "broke off" in last.message
        else:
            with pytest.raises(openai.APIError, match="broke off"):
                async for _ in await client.chat.completions.create(**ASKED, stream=True):
                    pass
    other.between, other.breaks_off = 0, True
    with pytest.raises(openai.APIError, match="broke off"):
        async with router.openai() as client:
            async for _ in await client.chat.completions.create(**ASKED, stream=True):
                pass


CALLED = events(
    chunk({"role": "assistant", "content": None}),
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "find_parcel"}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"num'}}]}),
    chunk({}, finish_reason="tool_calls"),
    "[DONE]",
)
OUTPUT = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-big-2026",
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": TEXT}],
        },
    ],
    "usage": {"input_tokens": 11, "output_tokens": 5},
}


@pytest.mark.parametrize(
    ("door", "sent", "body", "pieces", "answer", "asked"),
    [
        ("chat/completions", {}, None, None, TEXT, "Where?"),
        ("chat/completions", {"stream": True}, None, other_upstream.PIECES, TEXT, "Where?"),
        (
            "chat/completions",
            {},
            chat(None, tool_calls=[CALL]),
            None,
            "[tool call: find_parcel]",
            "Where?",
        ),
        (
            "chat/completions",
            {"stream": True},
            None,
            CALLED,
            "[tool call: find_parcel]",
            "Where?",
        ),
        ("chat/completions", {}, chat(None, refusal="No."), None, "No.", "Where?"),
        ("responses", {}, OUTPUT, None, TEXT, "Where?"),
        (
            "responses",
            {"stream": True},
            None,
            events({"type": "response.completed", "response": OUTPUT}),
            TEXT,
            "Where?",
        ),
        ("completions", {}, {"choices": [{"index": 0, "text": TEXT}]}, None, TEXT, "Where?"),
    ],
)
async def test_what_an_app_wants_recorded_is_recorded(
    router: Running,
    other: OtherUpstreamStandIn,
    door: str,
    sent: dict,
    body: Any,
    pieces: Any,
    answer: str,
    asked: str,
) -> None:
    await router.create()
    other.body, other.pieces = body, pieces or other.pieces
    question: dict[str, Any] = {
        "chat/completions": {"messages": [{"role": "user", "content": asked}]},
        "responses": {"input": asked},
        "completions": {"prompt": asked},
    }[door]
    async with router.http() as http:
        came = await http.post(
            f"/v1/{door}",
            json={"model": MODEL} | question | sent,
            headers={"x-ratchet-route": factories.ROUTE},
        )
    [event] = await recorded(router)
    assert came.status_code == 200
    assert event["inference_id"] == came.headers["x-ratchet-inference-id"]
    assert event["messages"] == [{"role": "user", "content": asked}]
    assert (event["answer"], event["arm"], event["outcome"]) == (answer, "external", "external")
    assert (event["route"], event["tenant"]) == (factories.ROUTE, "acme")
    assert event["adapter_id"] is None and event["attempts"] == [] and event["latency_ms"] > 0
    async with router.http() as http:
        shown = await http.get(f"/v1/inferences/{event['inference_id']}")
    assert shown.json()["answer"] == answer
    # Nobody is asked to review it, and no adapter had it.
    assert await router.events("ReviewRequested") == []


@pytest.mark.parametrize("door", ["chat/completions", "responses"])
async def test_the_calls_of_a_history_are_recorded(
    router: Running, other: OtherUpstreamStandIn, door: str
) -> None:
    await router.create()
    history: dict[str, list[dict[str, Any]]] = {
        "chat/completions": [
            {"role": "user", "content": "Where?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "on its way"},
        ],
        "responses": [
            {"role": "user", "content": "Where?"},
            {"type": "function_call", "call_id": "call_1", **CALL["function"]},
            {"type": "function_call_output", "call_id": "call_1", "output": "on its way"},
        ],
    }
    other.body = OUTPUT if door == "responses" else None
    name = "input" if door == "responses" else "messages"
    async with router.http() as http:
        await http.post(
            f"/v1/{door}",
            json={"model": MODEL, name: history[door]},
            headers={"x-ratchet-route": factories.ROUTE},
        )
    [event] = await recorded(router)
    called = {"id": "call_1"} | CALL["function"]
    assert event["messages"] == [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "on its way", "tool_call_id": "call_1"},
    ]


async def test_it_is_recorded_as_capture_records_it(
    router: Running, other: OtherUpstreamStandIn, tmp_path: Path
) -> None:
    from services.capture.recording import InferenceEntries, Origin
    from services.capture.shapes import SentInference
    from shared.privacy import Personal
    from shared.storage import BlobStore

    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "I am ann@example.com"}, "hello"]},
    ]
    metadata = {"session": "s-1", "team": "é", "card": "4111 1111 1111 1111"}
    other.body = chat("Write to bob@example.com")
    await router.create()
    async with router.openai() as client:
        await client.chat.completions.create(
            model=MODEL,
            messages=messages,
            metadata=metadata,
            extra_headers={"x-ratchet-route": "support-triage"},
        )
    [event] = await recorded(router)
    sent = SentInference(
        route=factories.ROUTE,
        messages=messages,
        answer="Write to bob@example.com",
        model="gpt-big-2026",
        prompt_tokens=11,
        completion_tokens=5,
        metadata=metadata,
    )
    origin = Origin("acme", "app", "key")
    entry = InferenceEntries(origin, 1, BlobStore(f"file://{tmp_path}/b"), Personal(None)).entry(
        sent, factories.ROUTE, {}
    )
    captured = InferenceRecorded.model_validate_json(entry.events[0].payload)
    own = {"event_id", "inference_id", "occurred_at", "latency_ms"}
    ours = InferenceRecorded.model_validate(event)
    assert ours.model_dump(exclude=own) == captured.model_dump(exclude=own)
    assert "[EMAIL]" in event["messages"][1]["content"] and "[CARD]" in str(event["metadata"])


@pytest.mark.parametrize(
    ("route", "status"), [("acme/none", 404), ("globex/secret", 404), ("", 404), ("none", 404)]
)
async def test_only_a_route_of_the_callers_can_be_recorded_for(
    router: Running, other: OtherUpstreamStandIn, route: str, status: int
) -> None:
    await router.create(factories.spec(name="globex/secret"))
    async with router.http() as http:
        answer = await http.post(
            "/v1/chat/completions", json=ASKED, headers={"x-ratchet-route": route}
        )
        vectors = await http.post(
            "/v1/embeddings",
            json={"model": MODEL, "input": "x"},
            headers={"x-ratchet-route": "acme/x"},
        )
    assert answer.status_code == status and "x-ratchet-route" in answer.json()["error"]["message"]
    assert vectors.status_code == 400 and other.asked == []


def lost() -> float:
    return recordings.RECORDED.labels("lost")._value.get()


@pytest.mark.parametrize(
    ("body", "pieces"),
    [
        ({"choices": []}, None),
        ({"unlike": "all"}, None),
        (None, events(chunk({"content": "half"}))),
        (None, events(chunk({"content": "half"}), {"error": {"message": "x"}})),
        (None, [b"data: {no json\n\n"]),
    ],
)
async def test_what_cannot_be_recorded_is_counted(
    router: Running, other: OtherUpstreamStandIn, body: Any, pieces: Any
) -> None:
    await router.create()
    other.body, other.pieces = body, pieces or other.pieces
    before = lost()
    async with router.http() as http:
        answer = await http.post(
            "/v1/chat/completions",
            json=ASKED | {"stream": pieces is not None},
            headers={"x-ratchet-route": factories.ROUTE},
        )
    assert answer.status_code == 200
    await until(lambda: lost() == before + 1, 2)
    assert await router.events("InferenceRecorded") == []


@pytest.mark.parametrize("whole", [True, False])
async def test_a_client_that_closes_at_the_end_has_not_left(
    router: Running, other: OtherUpstreamStandIn, whole: bool
) -> None:
    await router.create()
    other.lingers, other.between = 30, 0.1
    before = lost()
    async with router.openai() as client:
        stream = await client.chat.completions.create(
            **ASKED, stream=True, extra_headers={"x-ratchet-route": factories.ROUTE}
        )
        async for _ in stream:
            if not whole:
                break
        await stream.close()
    if whole:
        [event] = await recorded(router)
        assert event["answer"] == TEXT and lost() == before
    else:
        await until(lambda: lost() == before + 1, 2)
        assert await router.events("InferenceRecorded") == []


async def test_an_error_is_no_inference(router: Running, other: OtherUpstreamStandIn) -> None:
    await router.create()
    other.status, other.body = 429, {"error": {"message": "slow down"}}
    before = lost()
    async with router.http() as http:
        answer = await http.post(
            "/v1/chat/completions", json=ASKED, headers={"x-ratchet-route": factories.ROUTE}
        )
    assert answer.status_code == 429 and "x-ratchet-inference-id" not in answer.headers
    assert await router.events("InferenceRecorded") == [] and lost() == before


async def test_the_app_waits_for_no_database(
    router: Running, other: OtherUpstreamStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await router.create()
    recorder = router.service.parts.passing.recordings.recorder
    record, away = recorder.record, asyncio.Event()
    tried = 0

    async def flaky(served: Any, *more: Any) -> None:
        nonlocal tried
        tried += 1
        await away.wait()
        if tried < 3:
            raise ConnectionError
        await record(served, *more)

    monkeypatch.setattr(recorder, "record", flaky)
    monkeypatch.setattr(recordings, "PAUSES", (0.01,) * 5)
    async with router.http() as http:
        async with asyncio.timeout(2):
            answer = await http.post(
                "/v1/chat/completions", json=ASKED, headers={"x-ratchet-route": factories.ROUTE}
            )
    assert answer.status_code == 200 and await router.events("InferenceRecorded") == []
    away.set()
    [event] = await recorded(router)
    assert event["answer"] == TEXT and tried == 3


async def test_the_queue_has_an_end(
    router: Running, other: OtherUpstreamStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await router.create()
    recorder = router.service.parts.passing.recordings.recorder
    hold = asyncio.Event()
    record = recorder.record

    async def held(served: Any, *more: Any) -> None:
        await hold.wait()
        await record(served, *more)

    monkeypatch.setattr(recorder, "record", held)
    monkeypatch.setattr(recordings, "MOST", 2)
    before = lost()
    async with router.http() as http:
        for _ in range(4):
            await http.post(
                "/v1/chat/completions", json=ASKED, headers={"x-ratchet-route": factories.ROUTE}
            )
        await until(lambda: lost() == before + 2, 2)
    hold.set()
    assert len(await recorded(router, 2)) == 2


async def test_what_waits_is_stored_when_the_service_stops(
    other: OtherUpstreamStandIn, settings: dict[str, Any], vllm: Any, keys: dict[str, str]
) -> None:
    async with served(vllm.app) as engine:
        service: Service[Any] = build(Settings(vllm_url=engine, **settings), sender=NoSender())
        async with served(service.api) as address:
            running = Running(service, address, vllm, keys, None, Path())  # type: ignore[arg-type]
            await running.create()
            async with running.http() as http:
                await http.post(
                    "/v1/chat/completions", json=ASKED, headers={"x-ratchet-route": factories.ROUTE}
                )
        again: Service[Any] = build(Settings(vllm_url=engine, **settings), sender=NoSender())
        kept = Running(again, "", vllm, keys, None, Path())  # type: ignore[arg-type]
        [event] = await kept.events("InferenceRecorded")
        await again.db.close()
    assert event["answer"] == TEXT


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "Big Co"}, "name"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://user@host/v1"}, "url"),
        ({"models": []}, "models"),
        ({"models": ["a*b"]}, "models"),
        ({"tenants": []}, "tenants"),
        ({"tenants": ["Acme"]}, "tenants"),
        ({"key": "sk-1"}, "Extra inputs"),
        ({"key_env": "NOT_THERE"}, "NOT_THERE"),
        ({"key_file": "/none"}, "leave one out"),
        ({"key_env": None, "key_file": "/none"}, "FileNotFoundError"),
        ({"idle_seconds": 0}, "idle_seconds"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_words(
    tmp_path: Path, changed: dict, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGCO_KEY", KEY)
    path = write(tmp_path, upstream("http://x") | changed)
    with pytest.raises(UpstreamsUnusable, match=says) as refused:
        upstreams_in(path)
    assert KEY not in str(refused.value)


def test_a_file_may_be_yaml_and_a_key_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    path = tmp_path / "upstreams.yaml"
    path.write_text(
        f"upstreams:\n- name: bigco\n  url: https://big.example/v1/\n  key_file: {tmp_path}/key\n"
        "  models: [gpt-*]\n  tenants: ['*']\n"
    )
    [(read, key)] = upstreams_in(path).items()
    assert (read.url, key) == ("https://big.example/v1", KEY) and KEY not in repr(read)
    for text in ("upstreams: [", "[]", "upstreams: {a: 1}"):
        path.write_text(text)
        with pytest.raises(UpstreamsUnusable):
            upstreams_in(path)
