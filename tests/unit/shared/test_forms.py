"""What answers are held to, what becomes of a form that the engine cannot hold, and the digest of
all that a calibration holds for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.base import Confidence
from schemas.route import RouteSpec, Targets
from shared.rules import (
    ANYTHING,
    Bounds,
    Completion,
    Form,
    Grammar,
    RequestRefused,
    VllmAway,
    VllmError,
    VllmFailed,
    form_of,
    freely,
    population,
)
from shared.rules.completion import completion_request
from shared.rules.forms import HOPE, OBJECT
from tests import factories

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
EXTRACTION = {"task": "extraction", "labels": ()}
ANSWER = Completion("x", Confidence(score=0.5, min_logprob=-1, first_margin=0, tokens=1), -1.0)


def spec(**changes: Any) -> RouteSpec:
    return factories.spec(**changes)


@pytest.mark.parametrize(
    ("route", "steps"),
    [
        (spec(), (Bounds(choices=("delivery", "refund", "password")), Bounds())),
        (
            spec(**EXTRACTION, output_schema=SCHEMA),
            (Bounds(json_schema=SCHEMA), OBJECT, HOPE),
        ),
        # An array is no object: nothing between its schema and nothing.
        (
            spec(**EXTRACTION, output_schema={"type": "array"}),
            (Bounds(json_schema={"type": "array"}), HOPE),
        ),
        (
            spec(task="format", labels=(), output_schema=SCHEMA),
            (Bounds(json_schema=SCHEMA), OBJECT, HOPE),
        ),
        (
            spec(task="summarisation", labels=(), output_schema=SCHEMA),
            (Bounds(json_schema=SCHEMA), OBJECT, HOPE),
        ),
        (spec(**EXTRACTION, detailed_prompt="Answer with JSON: the city."), (OBJECT, HOPE)),
        (spec(**EXTRACTION, system_prompt="Fill in the json."), (OBJECT, HOPE)),
        # It may answer with words: "the number of the parcel".
        (spec(**EXTRACTION, detailed_prompt="Answer with the city."), (Bounds(),)),
        (spec(task="format", labels=(), detailed_prompt="Format the JSON."), (Bounds(),)),
        (spec(task="conversation", labels=()), (Bounds(),)),
    ],
)
def test_the_form_follows_from_the_route(route: RouteSpec, steps: tuple[Bounds, ...]) -> None:
    assert form_of(route).steps == steps


class Engine:
    """Refuses bounds by their kind, as vLLM refuses what its grammar cannot hold."""

    def __init__(self, **errors: VllmError) -> None:
        self.errors = errors
        self.asked: list[Bounds] = []

    async def ask(self, bounds: Bounds) -> Completion:
        self.asked.append(bounds)
        kind = "free"
        if bounds.choices:
            kind = "choice"
        elif bounds.json_schema is not None:
            kind = "schema" if bounds.json_schema else "object"
        if error := self.errors.get(kind):
            raise error
        return ANSWER


REFUSED = RequestRefused('Grammar error: Unimplemented keys: ["uniqueItems"]')
BROKEN = VllmFailed(500, "Internal server error")
FORM = form_of(spec(**EXTRACTION, output_schema=UNIQUE))


@pytest.mark.parametrize(
    ("errors", "step", "said"),
    [
        ({}, 0, None),
        ({"schema": REFUSED}, 1, "any JSON object, not the schema"),
        ({"schema": BROKEN}, 1, "any JSON object, not the schema"),
        ({"schema": REFUSED, "object": REFUSED}, 2, "nothing"),
        ({"schema": BROKEN, "object": REFUSED}, 2, "nothing"),
    ],
)
async def test_a_form_that_the_grammar_cannot_hold_is_held_as_far_as_it_can(
    errors: dict[str, VllmError], step: int, said: str | None
) -> None:
    grammar, engine = Grammar(), Engine(**errors)
    assert await grammar.ask(FORM, engine.ask) is ANSWER
    assert (grammar.step(FORM), grammar.flaw(FORM)) == (step, said)
    engine.asked.clear()
    # Found out once for all requests.
    assert await grammar.ask(FORM, engine.ask) is ANSWER
    assert engine.asked == [FORM.steps[step]]
    other = form_of(spec(**EXTRACTION, output_schema=SCHEMA))
    assert grammar.step(other) == 0


async def test_labels_that_the_grammar_cannot_hold_are_asked_for_freely() -> None:
    grammar, engine, form = Grammar(), Engine(choice=REFUSED), form_of(spec())
    assert await grammar.ask(form, engine.ask) is ANSWER
    assert (grammar.step(form), grammar.flaw(form)) == (1, "nothing")


@pytest.mark.parametrize(
    "error",
    [
        RequestRefused("This model's maximum context length is 1024 tokens"),
        VllmAway(TimeoutError()),
        VllmFailed(503, "overloaded"),
        VllmFailed(429, "busy"),
    ],
)
async def test_what_no_grammar_is_to_blame_for_is_asked_once(error: VllmError) -> None:
    grammar, engine = Grammar(), Engine(schema=error)
    with pytest.raises(type(error)):
        await grammar.ask(FORM, engine.ask)
    assert (len(engine.asked), grammar.step(FORM)) == (1, 0)


async def test_a_question_that_is_refused_in_every_form_costs_the_route_nothing() -> None:
    grammar = Grammar()
    engine = Engine(schema=REFUSED, object=BROKEN, free=RequestRefused("no such role"))
    with pytest.raises(RequestRefused, match="uniqueItems"):
        await grammar.ask(FORM, engine.ask)
    assert grammar.step(FORM) == 0


async def test_one_failure_by_chance_costs_a_route_nothing() -> None:
    grammar, engine = Grammar(), Engine(schema=BROKEN)

    async def once(bounds: Bounds) -> Completion:
        try:
            return await engine.ask(bounds)
        finally:
            engine.errors.clear()

    assert await grammar.ask(FORM, once) is ANSWER
    assert grammar.step(FORM) == 0


async def test_another_release_is_tried_anew() -> None:
    grammar, engine = Grammar("0.32.0"), Engine(schema=REFUSED)
    await grammar.ask(FORM, engine.ask)
    grammar.runs("0.32.0")
    assert grammar.step(FORM) == 1
    grammar.runs("0.33.0")
    assert grammar.step(FORM) == 0


def test_a_text_that_ends_the_answer_is_added_to_every_step() -> None:
    stopped = FORM.within(Bounds(stop=("END",)))
    assert stopped.steps == tuple(replace(step, stop=("END",)) for step in FORM.steps)
    assert ANYTHING.within(Bounds(stop=("x",))) == Form((Bounds(stop=("x",)),), "")


ADAPTER = factories.adapter().adapter_id


@pytest.mark.parametrize("adapter_id", [None, ADAPTER])
@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("delivery", "refund", "password", "cancel")},
        {"labels": ("refund", "delivery", "password")},
        {"output_schema": SCHEMA},
        {"max_tokens": 17},
        {"targets": Targets(max_risk=0.01)},
        {"system": "append"},
        {"task": "format"},
    ],
)
def test_a_calibration_holds_for_exactly_one_route(
    change: dict[str, Any], adapter_id: str | None
) -> None:
    now = population(spec(), adapter_id, "0.32.0", 0)
    assert population(spec(), adapter_id, "0.32.0", 0) == now
    assert population(spec(**change), adapter_id, "0.32.0", 0) != now


def test_each_arm_has_a_prompt_and_a_calibration_of_its_own() -> None:
    tuned = spec(system_prompt="Name the label.")
    detailed = spec(detailed_prompt="Name one of {labels}.")
    described = spec(detailed_prompt="{label_descriptions}", label_descriptions={"refund": "money"})
    of = {
        (name, arm): population(route, arm, "", 0)
        for name, route in (("now", spec()), ("tuned", tuned), ("detailed", detailed))
        for arm in (None, ADAPTER)
    }
    assert of["tuned", None] == of["now", None] != of["detailed", None]
    assert of["tuned", ADAPTER] != of["now", ADAPTER] == of["detailed", ADAPTER]
    assert population(described, None, "", 0) not in of.values()
    assert population(spec(), "acme--support-triage@ffffffffffff", "", 0) not in of.values()


def test_engine_and_step_are_part_of_it_and_what_changes_no_answer_is_not() -> None:
    now = population(spec(), ADAPTER, "0.32.0", 0)
    assert population(spec(), ADAPTER, "0.33.0", 0) != now
    assert population(spec(), ADAPTER, "0.32.0", 1) != now
    same = spec(minimum_rows=7, guideline="v2", approved_reviewers=("ada",))
    assert population(same, ADAPTER, "0.32.0", 0) == now
    read_back = RouteSpec.model_validate_json(spec(output_schema=SCHEMA).model_dump_json())
    assert population(read_back, None, "", 0) == population(spec(output_schema=SCHEMA), None, "", 0)


THINKS = {"enable_thinking": False}


@pytest.mark.parametrize(
    "route",
    [spec(), spec(**EXTRACTION, output_schema=SCHEMA), spec(task="conversation", labels=())],
)
def test_every_step_of_a_form_tells_the_template_what_the_route_says(route: RouteSpec) -> None:
    told = route.model_copy(update={"template_arguments": THINKS})
    for form in (form_of(told), form_of(told).within(Bounds(stop=("x",))), freely(told)):
        assert all(dict(step.template_arguments) == THINKS for step in form.steps)
        sent = completion_request("base", [], 16, form.steps[0])
        assert sent["chat_template_kwargs"] == THINKS
    assert "chat_template_kwargs" not in completion_request("base", [], 16, form_of(route).steps[0])


def test_a_calibration_holds_for_what_the_template_was_told() -> None:
    told = spec(template_arguments=THINKS)
    assert population(told, "a", "e", 0) != population(spec(), "a", "e", 0)
    assert population(told, "a", "e", 0) == population(spec(template_arguments=THINKS), "a", "e", 0)
