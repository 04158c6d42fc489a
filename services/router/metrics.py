"""What the router counts and times, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from services.router.answers import ChatAnswer

# Seconds: from a label out of a cache to a long answer of a model that thinks.
SECONDS = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
# `outcome` "unanswered": no model answered; the arm is the one that had been picked.
ANSWERS = Counter("ratchet_router_answers_total", "Requests of routes", ["route", "arm", "outcome"])
ANSWER_SECONDS = Histogram(
    "ratchet_router_answer_seconds",
    "Time from the parsed request to the recorded answer",
    ["route", "arm", "outcome"],
    buckets=SECONDS,
)
MODEL_SECONDS = Histogram(
    "ratchet_router_model_seconds",
    "Time that an answer of the engine took, by what was asked: adapter or base",
    ["kind"],
    buckets=SECONDS,
)
QUEUE_SECONDS = Histogram(
    "ratchet_router_queue_seconds",
    "Time that a request waited for its turn at the engine; one that found a free place is not in"
    " it",
    buckets=SECONDS,
)
TOKENS = Counter("ratchet_router_tokens_total", "Tokens of all models asked", ["route", "kind"])


class Meters:
    """The children of the metrics above, each looked up once: by label it takes three times as long
    as to count.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._tokens: dict[str, tuple[Counter, Counter]] = {}
        self._adapter = MODEL_SECONDS.labels("adapter")
        self._base = MODEL_SECONDS.labels("base")

    def answered(self, answered: ChatAnswer, seconds: float) -> None:
        route = answered.route
        self._count(route, answered.attempt.arm, answered.outcome, seconds)
        for attempt in answered.attempts:
            asked = self._adapter if attempt.adapter_id else self._base
            asked.observe(attempt.latency_ms / 1000)
        tokens = self._tokens.get(route)
        if tokens is None:
            tokens = TOKENS.labels(route, "prompt"), TOKENS.labels(route, "completion")
            self._tokens[route] = tokens
        tokens[0].inc(answered.prompt_tokens)
        tokens[1].inc(answered.completion_tokens)

    def unanswered(self, route: str, arm: str, seconds: float) -> None:
        self._count(route, arm, "unanswered", seconds)

    def _count(self, route: str, arm: str, outcome: str, seconds: float) -> None:
        key = route, arm, outcome
        found = self._answers.get(key)
        if found is None:
            found = ANSWERS.labels(*key), ANSWER_SECONDS.labels(*key)
            self._answers[key] = found
        found[0].inc()
        found[1].observe(seconds)
