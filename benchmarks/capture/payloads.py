"""What is sent: the support messages of examples/, two to a question, one in eight with personal
data, as each system wants them.
"""

from __future__ import annotations

import csv
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from infra.setup.places import ROOT

MESSAGES = ROOT / "examples" / "support" / "messages.csv"
ROUTE = "acme/support-triage"
PERSONAL = (
    "You can write to ada.lovelace@example.com.",
    "Please call me on +49 30 1234567.",
    "I paid with 4111 1111 1111 1111.",
    "My account is DE89 3704 0044 0532 0130 00.",
    "Call (415) 555-2671 after six.",
    "It went to bob+shop@mail.example.org instead.",
)
ONE_IN = 8


@dataclass(frozen=True)
class Exchange:
    """One question and its answer, and the id the app would send it under."""

    client_id: str
    question: str
    answer: str
    latency_ms: float


@cache
def texts() -> tuple[tuple[str, str], ...]:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        return tuple((row["text"], row["label"]) for row in csv.DictReader(file))


def exchanges(count: int) -> Iterator[Exchange]:
    """About 160 characters to a question, as far apart as two messages can be; ids are new in every
    call.
    """
    said = texts()
    run = secrets.token_hex(4)
    for number in range(count):
        first, label = said[number % len(said)]
        second, _ = said[(number * 7 + 3) % len(said)]
        personal = f" {PERSONAL[number // ONE_IN % len(PERSONAL)]}" if number % ONE_IN == 0 else ""
        yield Exchange(
            f"chat-{run}-{number}", f"{first} {second}{personal}", label, 200.0 + number % 700
        )


def as_json(exchange: Exchange) -> dict[str, Any]:
    """An item for Ratchet's capture."""
    return {
        "client_id": exchange.client_id,
        "route": ROUTE,
        "input": exchange.question,
        "answer": exchange.answer,
        "model": "gpt-5-mini",
        "latency_ms": exchange.latency_ms,
    }


def as_span(exchange: Exchange, at: int) -> Span:
    """The same as an LLM span with OpenInference's attributes, which Phoenix reads."""
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-5-mini",
        "input.value": exchange.question,
        "output.value": exchange.answer,
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": exchange.question,
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": exchange.answer,
        "client_id": exchange.client_id,
    }
    return Span(
        trace_id=secrets.token_bytes(16),
        span_id=secrets.token_bytes(8),
        name="chat",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=at,
        end_time_unix_nano=at + int(exchange.latency_ms * 1e6),
        status=Status(code=Status.STATUS_CODE_OK),
        attributes=[
            KeyValue(key=key, value=AnyValue(string_value=value))
            for key, value in attributes.items()
        ],
    )


def ratchet_bodies(count: int, batch: int) -> list[bytes]:
    items = list(map(as_json, exchanges(count)))
    return [
        json.dumps({"inferences": items[start : start + batch]}).encode()
        for start in range(0, count, batch)
    ]


def phoenix_bodies(count: int, batch: int, at: int) -> list[bytes]:
    spans = [as_span(exchange, at) for exchange in exchanges(count)]
    return [otlp(spans[start : start + batch]) for start in range(0, count, batch)]


def otlp(spans: list[Span]) -> bytes:
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])]
    ).SerializeToString()
