"""Spans and metrics by OpenTelemetry's conventions for generative AI, for whoever wants them.

Nothing here holds a text: names, numbers and ids alone. Made only where there is an endpoint to
send to, so that without one no SDK is imported and nothing is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from services.router.answers import ChatAnswer
from shared.errors import Fatal

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor

# The provider of routes; of other upstreams it is the upstream's name.
PROVIDER = "ratchet"
OPERATIONS = {
    "chat/completions": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
CONTEXT = ("traceparent", "tracestate")
# That one export may take, and so how long a stop may wait for the last.
EXPORT_SECONDS = 5.0
# Those that the conventions advise.
DURATIONS = [0.01 * 2**power for power in range(14)]
TOKENS = [4.0**power for power in range(14)]

Attributes = dict[str, str | int | float | tuple[str, ...]]


class TelemetryMissing(Fatal):
    def __init__(self) -> None:
        super().__init__(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: pip install"
            " 'ratchet[telemetry]', or unset it"
        )


@dataclass(frozen=True)
class Call:
    """One request, as far as it is known before there is an answer."""

    operation: str
    provider: str
    # None where it may be anything that a client wrote.
    model: str | None
    carrier: Mapping[str, str]
    # Nanoseconds since the epoch.
    began: int

    @classmethod
    def of(cls, request: Request, door: str, provider: str, model: str | None) -> Call:
        headers = request.headers
        carrier = {name: headers[name] for name in CONTEXT if name in headers}
        return cls(OPERATIONS[door], provider, model, carrier, time.time_ns())


class Tracing:
    """Makes one span of each call when it has ended, in the trace of the caller if it has one."""

    def __init__(self, processor: SpanProcessor, reader: MetricReader) -> None:
        """Make providers of our own: the global ones are for whoever embeds this."""
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # What the environment says of the service stands before what we do.
        ours = Resource({"service.name": "ratchet-router"})
        resource = ours.merge(OTELResourceDetector().detect())
        self._spans = TracerProvider(resource=resource)
        self._spans.add_span_processor(processor)
        self._metrics = MeterProvider([reader], resource=resource)
        self._tracer = self._spans.get_tracer("ratchet.router")
        self._propagator = TraceContextTextMapPropagator()
        meter = self._metrics.get_meter("ratchet.router")
        self._durations = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )

    async def followed(self, call: Call, answering: Awaitable[ChatAnswer]) -> ChatAnswer:
        """Wait for an answer, and note what came of it."""
        try:
            answered = await answering
        # Also where the caller left.
        except BaseException as error:
            self.note(call, {}, type(error).__name__)
            raise
        self.note(call, told(answered))
        return answered

    def passed(self, call: Call, status: int, outcome: str) -> None:
        """Note what was passed on: whole, with an error of the upstream's, or in part."""
        failed = status >= 400 or outcome != str(status)
        self.note(call, {"http.response.status_code": status}, outcome if failed else None)

    def note(self, call: Call, more: Attributes, error: str | None = None) -> None:
        """Make the span of a call that has just ended, and count it."""
        from opentelemetry.trace import SpanKind, StatusCode

        common: Attributes = {
            "gen_ai.operation.name": call.operation,
            "gen_ai.provider.name": call.provider,
        }
        if call.model:
            common["gen_ai.request.model"] = call.model
        if error:
            common["error.type"] = error
        span = self._tracer.start_span(
            f"{call.operation} {call.model}" if call.model else call.operation,
            context=self._propagator.extract(call.carrier),
            kind=SpanKind.CLIENT,
            attributes=common | more,
            start_time=call.began,
        )
        if error:
            span.set_status(StatusCode.ERROR)
        ended = time.time_ns()
        span.end(ended)
        if answered_by := more.get("gen_ai.response.model"):
            common["gen_ai.response.model"] = answered_by
        self._durations.record((ended - call.began) / 1e9, common)
        for kind in ("input", "output"):
            used = more.get(f"gen_ai.usage.{kind}_tokens")
            if isinstance(used, int):
                self._tokens.record(used, common | {"gen_ai.token.type": kind})

    async def close(self) -> None:
        """Send what is left."""
        # Both at once: each tries for EXPORT_SECONDS where nobody takes it.
        await asyncio.gather(
            asyncio.to_thread(self._spans.shutdown),
            asyncio.to_thread(self._metrics.shutdown, EXPORT_SECONDS * 1000),
        )


def told(answered: ChatAnswer) -> Attributes:
    return {
        "gen_ai.response.id": answered.inference_id,
        "gen_ai.response.model": answered.attempt.model,
        "gen_ai.response.finish_reasons": tuple(
            choice.finish_reason for choice in answered.choices
        ),
        "gen_ai.usage.input_tokens": answered.prompt_tokens,
        "gen_ai.usage.output_tokens": answered.completion_tokens,
        "ratchet.outcome": answered.outcome,
        "ratchet.arm": answered.attempt.arm,
        "ratchet.route_version": answered.route_version,
    }


def tracing_to(endpoint: str | None) -> Tracing | None:
    """Make what sends to an OTLP endpoint over HTTP; nothing where there is none.

    Headers, sampling and the name of the service are read by the SDK, from the environment as its
    documentation says. Raises TelemetryMissing.
    """
    if not endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TelemetryMissing from error
    base = endpoint.rstrip("/")
    spans = OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=EXPORT_SECONDS)
    metrics = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=EXPORT_SECONDS)
    return Tracing(BatchSpanProcessor(spans), PeriodicExportingMetricReader(metrics))
