"""Every arm is held to the form of its route, and a threshold is trusted for what it was fitted
for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.route import RouteSpec, Targets
from shared.rules import population
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "kinds": {"type": "array", "uniqueItems": True}},
    "required": ["total"],
}
INVOICE = factories.spec(task="extraction", labels=(), output_schema=SCHEMA, max_tokens=64)
ANY_OBJECT = factories.spec(task="extraction", labels=(), detailed_prompt="Answer with JSON.")
WORDS = factories.spec(task="extraction", labels=(), detailed_prompt="Answer with the city.")
CHAT = factories.spec(task="conversation", labels=())
LABELS = {"choice": ["delivery", "refund", "password"]}
GOOD = '{"total": 12.5}'


async def champion(router: Running, spec: RouteSpec) -> str:
    """Make a route whose champion answers in form; its probe is over."""
    answer = "delivery" if spec.labels else GOOD
    router.vllm.answers = lambda model, _: (answer, -0.05 if "@" in model else -0.2)
    await router.create(spec)
    await router.promote(router.adapter(), probe=None)
    name: str = router.state().champion.adapter_id
    await until(lambda: router.service.parts.fleet.serving(name))
    router.vllm.asked.clear()
    return name


@pytest.mark.parametrize(
    ("spec", "held"),
    [
        (factories.spec(), LABELS),
        (INVOICE, {"json": SCHEMA}),
        (ANY_OBJECT, {"json_object": True}),
        (WORDS, None),
    ],
    ids=["labels", "schema", "object", "words"],
)
async def test_adapter_and_base_model_are_held_alike(
    router: Running, spec: RouteSpec, held: dict[str, Any] | None
) -> None:
    name = await champion(router, spec)
    assert (await router.chat()).status_code == 200
    asked = {body["model"]: body.get("structured_outputs") for body in router.vllm.asked}
    assert asked == {name: held, "base": held}


async def test_a_probe_is_asked_freely_as_the_trainer_decodes(router: Running) -> None:
    await router.create()
    await router.promote(router.adapter(), probe=None)
    assert router.vllm.asked
    assert not any("structured_outputs" in body for body in router.vllm.asked)


async def test_what_the_grammar_cannot_hold_fails_no_request_and_is_said(router: Running) -> None:
    name = await champion(router, INVOICE)
    router.vllm.refuses = lambda body: "json" in (body.get("structured_outputs") or {})
    first = (await router.chat()).json()
    assert first["choices"][0]["message"]["content"] == GOOD
    assert [attempt["arm"] for attempt in first["ratchet"]["attempts"]] == ["champion", "base"]
    router.vllm.asked.clear()
    assert (await router.chat()).status_code == 200
    # Found out once, by the first model that was asked.
    held = [(body["model"], body["structured_outputs"]) for body in router.vllm.asked]
    assert held == [(name, {"json_object": True}), ("base", {"json_object": True})]
    async with router.http() as http:
        ready = (await http.get("/health/ready")).json()
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()
    said = {factories.ROUTE: "any JSON object, not the schema"}
    assert (ready["forms_not_held"], ready["engine"]) == (said, "unknown")
    assert any("cannot hold answers to the form" in warning for warning in shown["warnings"])
    # What was calibrated under the schema is void under less.
    await router.handle(factories.calibration(INVOICE, adapter_id=name, threshold=0.5))
    assert (await router.chat()).json()["ratchet"]["outcome"] == "unsure"
    holds = population(INVOICE, name, "", 1)
    await router.handle(factories.calibration(adapter_id=name, threshold=0.5, holds_for=holds))
    assert (await router.chat()).json()["ratchet"]["outcome"] == "confident"


async def test_nothing_is_said_of_forms_that_are_held(router: Running) -> None:
    await champion(router, INVOICE)
    await router.chat()
    async with router.http() as http:
        assert (await http.get("/health/ready")).json()["forms_not_held"] == {}
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()
    assert shown["warnings"] == []


async def test_what_an_app_asks_for_is_not_loosened(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.refuses = lambda body: "structured_outputs" in body
    wanted = {"name": "x", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    answer = await router.chat(response_format={"type": "json_schema", "json_schema": wanted})
    assert (answer.status_code, len(router.vllm.asked)) == (400, 1)
    assert "uniqueItems" in answer.json()["error"]["message"]


CHANGES = {
    "risk": {"targets": Targets(max_risk=0.01)},
    "max_tokens": {"max_tokens": 17},
    "labels": {"labels": ("delivery", "refund", "password", "cancel")},
    "system": {"system": "append"},
    "schema": {"output_schema": {"type": "string"}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_every_change_voids_both_arms_and_the_way_back_restores_them(
    router: Running, change: dict[str, Any]
) -> None:
    name = await champion(router, factories.spec())
    for adapter_id in (name, None):
        await router.handle(factories.calibration(adapter_id=adapter_id, threshold=0.5))
    assert (await outcome(router)) == "confident"
    await router.create(factories.spec(**change))
    assert (await outcome(router)) == "unsure"
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()
    assert shown["calibrations"] == []
    [warning] = [one for one in shown["warnings"] if "is trusted" in one]
    assert name in warning and "the base model" in warning
    await router.create()
    assert (await outcome(router)) == "confident"


async def outcome(router: Running) -> str:
    return (await router.chat()).json()["ratchet"]["outcome"]


async def test_what_was_fitted_for_the_old_prompt_is_void_whenever_it_arrives(
    router: Running,
) -> None:
    """By clocks it would be trusted: it was published after the prompt had changed."""
    name = await champion(router, factories.spec())
    await router.create(factories.spec(system_prompt="Name the label."))
    late = datetime.now(UTC) + timedelta(hours=1)
    await router.handle(factories.calibration(adapter_id=name, threshold=0.5, occurred_at=late))
    assert (await outcome(router)) == "unsure"
    # An hour of skew the other way loses nothing.
    early = datetime.now(UTC) - timedelta(hours=1)
    now = factories.spec(system_prompt="Name the label.")
    await router.handle(factories.calibration(now, adapter_id=name, occurred_at=early))
    assert (await outcome(router)) == "confident"


async def test_another_engine_voids_what_was_calibrated(router: Running) -> None:
    router.vllm.release = "0.32.0"
    await router.create()
    grammar = router.service.parts.upstream.grammar
    await until(lambda: grammar.engine == "0.32.0")
    await router.handle(factories.calibration(adapter_id=None, threshold=0.5))
    assert (await outcome(router)) == "unsure"
    holds = population(factories.spec(), None, "0.32.0", 0)
    await router.handle(factories.calibration(adapter_id=None, threshold=0.5, holds_for=holds))
    assert (await outcome(router)) == "confident"
    router.vllm.release = "0.33.0"
    await until(lambda: grammar.engine == "0.33.0")
    assert (await outcome(router)) == "unsure"


@pytest.mark.parametrize(
    ("spec", "adapter", "trusted"),
    [
        # The base model of a classification was held to its labels already.
        (factories.spec(), False, True),
        (factories.spec(), True, False),
        (INVOICE, False, False),
        (INVOICE, True, False),
        (factories.spec(targets=Targets(max_risk=0.05)), False, False),
    ],
    ids=["labels", "labels of an adapter", "JSON", "JSON of an adapter", "another risk"],
)
async def test_a_calibration_of_an_older_release_holds_where_nothing_changed(
    router: Running, spec: RouteSpec, adapter: bool, trusted: bool
) -> None:
    name = await champion(router, spec) if adapter else None
    if not adapter:
        router.vllm.answers = lambda *_: ("delivery" if spec.labels else GOOD, -0.05)
        await router.create(spec)
    await router.handle(factories.calibration(adapter_id=name, threshold=0.5, holds_for=None))
    assert (await outcome(router)) == ("confident" if trusted else "unsure")
    # Once there is one that says what it holds for, an older one is asked no more.
    other = population(factories.spec(max_tokens=99), name, "", 0)
    await router.handle(factories.calibration(adapter_id=name, holds_for=other))
    assert (await outcome(router)) == "unsure"


async def test_confidence_in_json_is_that_of_its_values(router: Running) -> None:
    """The stand-in spells an answer by one token, so that its name and marks are in it."""
    await router.create(INVOICE)
    router.vllm.answers = lambda *_: (GOOD, -0.5)
    router.vllm.bend = in_three_tokens
    body = (await router.chat()).json()
    [attempt] = body["ratchet"]["attempts"]
    assert attempt["confidence"]["score"] == pytest.approx(0.9)
    assert attempt["confidence"]["features"] == {
        "values": 1,
        "weakest": pytest.approx(-0.1053605),
        "whole": pytest.approx(-1.6053605),
    }
    [recorded] = await router.events("InferenceRecorded")
    assert recorded["attempts"][0]["confidence"]["features"]["values"] == 1


def in_three_tokens(_: str, completion: dict[str, Any]) -> None:
    pieces = (('{"total":', -1.0), (" 12.5", -0.1053605), ("}", -0.5))
    completion["choices"][0]["logprobs"]["content"] = [
        {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}
        for text, logprob in pieces
    ]


async def test_an_object_that_an_app_asks_for_is_held_where_the_route_may_answer_with_words(
    router: Running,
) -> None:
    await router.create(WORDS)
    router.vllm.answers = lambda *_: ("{}", -0.1)
    assert (await router.chat(response_format={"type": "json_object"})).status_code == 200
    assert router.vllm.asked[-1]["structured_outputs"] == {"json_object": True}
