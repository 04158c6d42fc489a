"""Spans, metrics, ids of requests and the access log: all of them without a user's text."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import structlog
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.router import tracing as tracing_module
from services.router.app import build
from services.router.settings import Settings
from services.router.tracing import tracing_to
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import FakeVllm, served, until
from tests.unit.router.other_upstream import OtherUpstreamStandIn
from tests.unit.router.test_passing import upstream, write

SECRET = "Where is ann's parcel, zebra-striped?"
TRACE, PARENT = "0a" * 16, "b7" * 8


class Collector:
    """An OTLP receiver over HTTP, as it stands behind OTEL_EXPORTER_OTLP_ENDPOINT."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.app = Starlette(
            routes=[
                Route("/v1/traces", self.take, methods=["POST"]),
                Route("/v1/metrics", self.take, methods=["POST"]),
            ]
        )

    async def take(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        self.raw.append(body)
        if request.url.path.endswith("traces"):
            self.traces.append(ExportTraceServiceRequest.FromString(body))
        else:
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
        return Response(media_type="application/x-protobuf")

    def spans(self) -> list[Any]:
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def points(self) -> dict[str, list[Any]]:
        """The points of each metric, as it was exported last."""
        return {
            metric.name: list(metric.histogram.data_points)
            for request in self.metrics
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def attributes(of: Any) -> dict[str, Any]:
    found = {}
    for one in of.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        if kind == "array_value":
            value = [inner.string_value for inner in value.values]
        found[one.key] = value
    return found


@pytest.fixture
async def collector() -> Collector:
    return Collector()


@pytest.fixture
async def traced(
    vllm: FakeVllm,
    settings: dict[str, Any],
    keys: dict[str, str],
    tmp_path: Path,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Running]:
    """A router that sends to the collector, and passes a model on."""
    monkeypatch.setenv("BIGCO_KEY", "sk-1")
    other = OtherUpstreamStandIn()
    async with (
        served(vllm.app) as engine,
        served(collector.app) as otlp,
        served(other.app) as elsewhere,
    ):
        path = write(tmp_path, upstream(elsewhere))
        service = build(
            Settings(vllm_url=engine, otel_endpoint=otlp, upstreams_file=path, **settings),
            sender=NoSender(),
        )
        async with served(service.api) as url:
            yield Running(service, url, vllm, keys, None, tmp_path)  # type: ignore[arg-type]


async def exported(running: Running) -> None:
    """What is batched goes out."""
    tracing = running.service.parts.passing.tracing
    assert tracing
    await asyncio.to_thread(tracing._spans.force_flush)
    await asyncio.to_thread(tracing._metrics.force_flush)


async def test_one_request_is_one_span_without_its_text(
    traced: Running, collector: Collector
) -> None:
    traced.vllm.answers = lambda *_: ("delivery", -0.05)
    await traced.create()
    async with traced.openai() as client:
        answer = await client.chat.completions.create(
            model=factories.ROUTE,
            messages=[{"role": "user", "content": SECRET}],
            user="ann@example.com",
            metadata={"note": SECRET},
            extra_headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
    await exported(traced)
    [span] = collector.spans()
    assert span.name == f"chat {factories.ROUTE}" and span.kind == span.SPAN_KIND_CLIENT
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 20e9
    assert attributes(span) == {
        gen_ai.GEN_AI_OPERATION_NAME: "chat",
        gen_ai.GEN_AI_PROVIDER_NAME: "ratchet",
        gen_ai.GEN_AI_REQUEST_MODEL: factories.ROUTE,
        gen_ai.GEN_AI_RESPONSE_ID: answer.id,
        gen_ai.GEN_AI_RESPONSE_MODEL: "base",
        gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: ["stop"],
        gen_ai.GEN_AI_USAGE_INPUT_TOKENS: 10,
        gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: 2,
        "ratchet.outcome": "unsure",
        "ratchet.arm": "base",
        "ratchet.route_version": 1,
    }
    points = collector.points()
    [duration] = points[gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION]
    assert duration.count == 1 and list(duration.explicit_bounds)[:2] == [0.01, 0.02]
    used = {
        attributes(point)[gen_ai.GEN_AI_TOKEN_TYPE]: point.sum
        for point in points[gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE]
    }
    assert used == {"input": 10, "output": 2}
    said = b"".join(collector.raw)
    assert b"support-triage" in said and b"ratchet-router" in said
    for text in (b"zebra", b"ann", b"delivery", traced.secrets["acme"].encode()):
        assert text not in said


@pytest.mark.parametrize(
    ("door", "body", "name"),
    [
        ("responses", {"input": SECRET}, "chat"),
        ("completions", {"prompt": SECRET}, "text_completion"),
        ("chat/completions", {"messages": [{"role": "user", "content": SECRET}]}, "chat"),
    ],
)
async def test_every_door_and_stream_has_its_span(
    traced: Running, collector: Collector, door: str, body: dict, name: str
) -> None:
    await traced.create()
    async with traced.http() as http:
        for stream in (False, True):
            await http.post(f"/v1/{door}", json={"model": factories.ROUTE, "stream": stream} | body)
    await exported(traced)
    assert [span.name for span in collector.spans()] == [f"{name} {factories.ROUTE}"] * 2
    assert b"zebra" not in b"".join(collector.raw)


async def test_what_fails_says_so_and_no_name_that_a_client_made_up(
    traced: Running, collector: Collector
) -> None:
    await traced.create()
    traced.vllm.fail_chat["base"] = (500, SECRET)
    assert (await traced.chat(SECRET)).status_code >= 500
    assert (await traced.chat(SECRET, model="acme/zebra")).status_code == 404
    await exported(traced)
    failed, unknown = collector.spans()
    assert failed.name == f"chat {factories.ROUTE}" and failed.status.code == 2
    assert attributes(failed)["error.type"] == "UpstreamFailed"
    assert unknown.name == "chat" and attributes(unknown)["error.type"] == "RouteNotServed"
    assert b"zebra" not in b"".join(collector.raw)


async def test_what_passes_through_has_a_span_too(traced: Running, collector: Collector) -> None:
    await traced.create()
    async with traced.openai() as client:
        await client.embeddings.create(model="embed-small", input=SECRET)
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": SECRET}], stream=True
        )
        assert [part async for part in stream]
    await exported(traced)
    assert [
        (span.name, attributes(span)[gen_ai.GEN_AI_PROVIDER_NAME]) for span in collector.spans()
    ] == [("embeddings embed-small", "bigco"), ("chat gpt-4o", "bigco")]
    assert b"zebra" not in b"".join(collector.raw)


async def test_a_collector_that_is_away_costs_no_answer(
    traced: Running, collector: Collector
) -> None:
    await traced.create()
    collector.app.routes.clear()
    answer = await traced.chat()
    assert answer.status_code == 200


def test_nothing_is_imported_where_nobody_listens() -> None:
    """FastAPI imports the API of OpenTelemetry in any case; not the SDK."""
    script = (
        "import sys; from services.router.app import build; from services.router.settings import"
        " Settings; build(Settings(database_url='sqlite+aiosqlite://'))\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk',"
        " 'opentelemetry.exporter'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
    )
    assert done.stdout.strip() == "[]"
    assert tracing_to(None) is None and tracing_to("") is None


def test_an_endpoint_without_the_library_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(tracing_module.TelemetryMissing, match=r"ratchet\[telemetry\]"):
        tracing_to("http://127.0.0.1:9")


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_answers_are_counted_by_route_arm_and_outcome(router: Running) -> None:
    route = "acme/counted"
    await router.create(factories.spec(name=route))
    labels = {"route": route, "arm": "base", "outcome": "unsure"}
    model = sample("ratchet_router_model_seconds_count", kind="base")
    for _ in range(3):
        assert (await router.chat(model=route)).status_code == 200
    router.vllm.fail_chat["base"] = (500, "x")
    await router.chat(model=route)
    assert sample("ratchet_router_answers_total", **labels) == 3
    assert sample("ratchet_router_answer_seconds_count", **labels) == 3
    assert sample("ratchet_router_answer_seconds_bucket", le="300.0", **labels) == 3
    assert sample("ratchet_router_answers_total", **labels | {"outcome": "unanswered"}) == 1
    assert sample("ratchet_router_model_seconds_count", kind="base") == model + 3
    tokens = [
        sample("ratchet_router_tokens_total", route=route, kind=kind)
        for kind in ("prompt", "completion")
    ]
    assert tokens == [30, 6]
    async with router.http() as http:
        assert "acme/counted" in (await http.get("/metrics")).text


async def test_a_model_that_is_no_route_is_no_label(router: Running) -> None:
    await router.create()
    await router.chat(model="acme/zebra-striped")
    async with router.http() as http:
        assert "zebra" not in (await http.get("/metrics")).text


ANSWERS_WITH_AN_ID = [
    ("GET", "/health/live", None, 200),
    ("GET", "/metrics", None, 200),
    ("GET", "/v1/models", None, 200),
    ("POST", "/v1/chat/completions", {"model": "acme/none", "messages": []}, 400),
    ("POST", "/v1/chat/completions", None, 400),
    ("POST", "/v1/chat/completions", {"stream": True}, 200),
    ("GET", "/v1/nothing", None, 404),
    ("DELETE", "/nowhere", None, 404),
    ("GET", "/v1/routes/acme/none", None, 404),
    ("GET", "/v1/models?x=%00", None, 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), ANSWERS_WITH_AN_ID)
async def test_every_answer_names_its_request(
    router: Running, method: str, path: str, body: Any, status: int
) -> None:
    await router.create()
    if body and "stream" in body:
        body |= {"model": factories.ROUTE, "messages": [{"role": "user", "content": "x"}]}
    async with router.http() as http:
        made = await http.request(method, path, json=body)
        again = await http.request(method, path, json=body)
        given = await http.request(
            method, path, json=body, headers={"x-request-id": "app 7/ü".encode()}
        )
        kept = await http.request(method, path, json=body, headers={"x-request-id": "app 7/u"})
        http.headers.pop("authorization")
        refused = await http.request(method, path, json=body)
    assert {one.status_code for one in (made, again, given, kept)} == {status}
    ids = [one.headers["x-request-id"] for one in (made, again, given, refused)]
    assert len(set(ids)) == 4 and all(re.fullmatch("req_[0-9a-f]{24}", one) for one in ids)
    assert kept.headers.get_list("x-request-id") == ["app 7/u"]


@pytest.mark.parametrize("unfit", [b"", b"x" * 129, b"tab\tinside", b"\xc3\xa9", b"a\x7f", b"\x01"])
def test_an_unfit_id_is_replaced(unfit: bytes) -> None:
    from shared.http.visits import head_of

    head = head_of({"headers": [(b"x-request-id", unfit)]})
    assert head.request_id.startswith("req_") and len(head.request_id) == 28
    assert head_of({"headers": [(b"x-request-id", b"x" * 128)]}).request_id == "x" * 128


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The lines of the log, as they are before they are rendered."""
    from shared import telemetry

    lines: list[dict[str, Any]] = []

    def keep(_: object, __: str, event: dict[str, Any]) -> dict[str, Any]:
        lines.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[telemetry._with_request_id, keep], cache_logger_on_first_use=False
    )
    yield lines
    structlog.configure(**before)


@pytest.fixture
def access_log(settings: dict[str, Any]) -> None:
    settings["access_log"] = True


async def test_the_access_log_has_one_line_without_content(
    access_log: None, router: Running, logged: list[dict[str, Any]]
) -> None:
    await router.create()
    async with router.http() as http:
        ask = {"model": factories.ROUTE, "messages": [{"role": "user", "content": SECRET}]}
        answer = await http.post("/v1/chat/completions?zebra=1", json=ask)
        await http.post("/v1/chat/completions", json=ask | {"stream": True})
        await http.post("/v1/chat/completions", json=ask | {"model": "acme/zebra"})
        await http.get("/v1/models/zebra")
        await http.get("/v1/zebra/zebra")
        await http.get("/zebra")
        await http.get("/v1/models", headers={"authorization": "Bearer zebra"})
    lines = [line for line in logged if line["event"] == "request"][1:]
    assert lines[0]["ms"] > 0 and lines[0]["application"]
    first = {k: v for k, v in lines[0].items() if k not in ("event", "ms", "application")}
    assert first == {
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "tenant": "acme",
        "request_id": answer.headers["x-request-id"],
        "inference_id": answer.headers["x-ratchet-inference-id"],
        "model": factories.ROUTE,
    }
    assert [(line["path"], line["status"], line["model"]) for line in lines[1:]] == [
        ("/v1/chat/completions", 200, factories.ROUTE),
        ("/v1/chat/completions", 404, None),
        ("/v1/models/{name:path}", 404, None),
        ("/v1/{path:path}", 404, None),
        ("none", 404, None),
        ("/v1/models", 401, None),
    ]
    assert "zebra" not in str(lines) and lines[-1]["tenant"] is None


async def test_a_caller_that_left_is_in_it(
    access_log: None, router: Running, logged: list[dict[str, Any]]
) -> None:
    await router.create()
    router.vllm.slow["base"] = None
    with pytest.raises(httpx.ReadTimeout):
        async with router.http() as http:
            await http.post(
                "/v1/chat/completions",
                json={"model": factories.ROUTE, "messages": [{"role": "user", "content": "x"}]},
                timeout=0.3,
            )
    await until(lambda: any(line.get("status") == 499 for line in logged), 2)


async def test_without_the_setting_there_is_no_line(
    router: Running, logged: list[dict[str, Any]]
) -> None:
    await router.create()
    await router.chat()
    assert [line for line in logged if line["event"] == "request"] == []


async def test_what_is_logged_meanwhile_names_the_request(
    router: Running, logged: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(router.service.parts.table, "owned_by", broken)
    async with router.openai() as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.models.list()
    [line] = [line for line in logged if line["event"] == "unexpected"]
    assert line["request_id"] == failed.value.request_id


@pytest.fixture
def one_at_once(settings: dict[str, Any]) -> None:
    settings["vllm_at_once"] = 1


async def test_only_who_waits_for_a_turn_is_timed(one_at_once: None, router: Running) -> None:
    await router.create()
    name = "ratchet_router_queue_seconds_count"
    before = sample(name)
    assert (await router.chat()).status_code == 200 and sample(name) == before
    router.vllm.slow["base"] = 0.2
    await asyncio.gather(router.chat(), router.chat())
    assert sample(name) == before + 1 and sample("ratchet_router_queue_seconds_sum") > 0.1
