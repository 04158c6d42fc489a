"""What log-probabilities mean under a grammar, on the real vLLM: our reading of scores stands on
it. Prints what holding costs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from math import exp, fsum, isclose
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.answers import well_formed
from schemas.base import JsonObject, Message
from services.router.upstream import Upstream
from shared.rules import ANYTHING, Form, form_of
from tests import factories
from tests.unit.router.real_vllm import RealVllm, on_vllm

pytestmark = on_vllm

LETTERS = ("A", "B", "C")
QUESTION = [
    {
        "role": "user",
        "content": "Which letter is the grade? Answer with A, B or C and nothing else.",
    }
]
GRADE = {
    "type": "object",
    "properties": {"grade": {"enum": list(LETTERS)}},
    "required": ["grade"],
    "additionalProperties": False,
}
# What a grammar forbids is listed with -9999.
FORBIDDEN = -1000.0
ITEM = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "nights": {"type": "integer"}},
    "required": ["city", "nights"],
    "additionalProperties": False,
}
TRIP = factories.spec(
    task="extraction",
    labels=(),
    output_schema=ITEM,
    max_tokens=40,
    detailed_prompt="Answer with JSON that has the keys city and nights.",
)
TRIPS = [
    "Two nights in Riga, please.",
    "I need a bed in Oslo for one night.",
    "We stay three nights in Lima.",
    "Four nights, Bonn.",
]


def ask(vllm: RealVllm, **body: Any) -> JsonObject:
    """Ask as an app of vLLM's own would, with more alternatives than the router wants."""
    sent = {
        "model": "base",
        "messages": QUESTION,
        "max_tokens": 30,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    } | body
    answer = httpx.post(f"{vllm.url}/v1/chat/completions", json=sent, timeout=60)
    assert answer.status_code == 200, answer.text
    found: JsonObject = answer.json()
    return found


def listed(answer: JsonObject, at: int = 0) -> dict[str, float]:
    """Return the alternatives that were allowed in one place."""
    token = answer["choices"][0]["logprobs"]["content"][at]
    return {
        one["token"]: one["logprob"] for one in token["top_logprobs"] if one["logprob"] > FORBIDDEN
    }


def are_all_there_is(alternatives: dict[str, float]) -> bool:
    """Say whether the letters share a probability of 1 among them."""
    of_letters = fsum(exp(alternatives[letter]) for letter in LETTERS if letter in alternatives)
    return alternatives.keys() == set(LETTERS) and isclose(of_letters, 1.0, abs_tol=1e-5)


def at_the_letter(answer: JsonObject) -> int:
    tokens = [token["token"] for token in answer["choices"][0]["logprobs"]["content"]]
    return next(at for at, token in enumerate(tokens) if token in LETTERS)


def test_labels_share_all_probability_under_a_choice_and_only_then(real: RealVllm) -> None:
    held = listed(ask(real, structured_outputs={"choice": list(LETTERS)}))
    free = listed(ask(real))
    assert are_all_there_is(held)
    # The control: what is decoded freely must not pass for what was held.
    assert not are_all_there_is(free)
    assert fsum(exp(free[letter]) for letter in LETTERS) < 0.9
    # Masked before the normalisation: what stays keeps its proportions.
    for letter in LETTERS[1:]:
        assert isclose(held["A"] - held[letter], free["A"] - free[letter], abs_tol=0.05)


def test_values_of_an_enum_share_all_probability_under_a_schema_and_only_then(
    real: RealVllm,
) -> None:
    held = ask(real, structured_outputs={"json": GRADE})
    assert are_all_there_is(listed(held, at_the_letter(held)))
    free = ask(real)
    assert not are_all_there_is(listed(free, at_the_letter(free)))


def test_the_log_probabilities_of_a_prompt_know_no_grammar(real: RealVllm) -> None:
    """So that what an answer is worth without a grammar could be asked for afterwards."""
    said = {
        "messages": [*QUESTION, {"role": "assistant", "content": "A"}],
        "add_generation_prompt": False,
        "continue_final_message": True,
        "prompt_logprobs": 20,
        "max_tokens": 1,
    }
    last = ask(real, **said, structured_outputs={"choice": ["B"]})["prompt_logprobs"][-1]
    read = {one["decoded_token"]: one["logprob"] for one in last.values()}
    free = listed(ask(real))
    assert isclose(read["A"], free["A"], abs_tol=0.05)
    assert not are_all_there_is(read)


@pytest.fixture
async def upstream(real: RealVllm) -> AsyncIterator[Upstream]:
    client = Upstream(real.url, 60, 8)
    await client.models()
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("schema", "step"),
    [
        (ITEM, 0),
        ({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}, 1),
        ({"type": "object", "properties": {"a": {"type": "array", "contains": {"const": 3}}}}, 1),
        ({"type": "object", "propertyNames": {"pattern": "^a"}, "properties": {"ab": {}}}, 1),
        # vLLM fails with 500 on this one, and goes on.
        ({"type": "object", "allOf": [{"$ref": "#"}]}, 1),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, 1),
    ],
    ids=["held", "uniqueItems", "contains", "propertyNames", "itself", "array"],
)
async def test_no_schema_fails_a_request(upstream: Upstream, schema: JsonObject, step: int) -> None:
    form = form_of(factories.spec(task="extraction", labels=(), output_schema=schema))
    assert upstream.grammar.engine.startswith("0.")
    for _ in range(2):
        answer = await upstream.ask_in_form("base", factories.USER, 8, form)
        assert answer.answer
    assert upstream.grammar.step(form) == step


async def seconds(upstream: Upstream, model: str, forms: dict[str, Form]) -> dict[str, float]:
    """Return what an answer takes by each form, the forms in turn."""
    took = dict.fromkeys(forms, 0.0)
    for number in range(12):
        question = (Message(role="user", content=f"Where is parcel number {number}?"),)
        for name, form in forms.items():
            started = time.perf_counter()
            await upstream.ask_in_form(model, factories.spec().tuned_messages(question), 8, form)
            # The first one is compiled.
            took[name] += (time.perf_counter() - started) * (number > 1)
    return {name: total / 10 for name, total in took.items()}


@pytest.mark.faults
async def test_holding_an_adapter_to_its_labels_costs_little(
    upstream: Upstream, lora: Path
) -> None:
    await upstream.load("acme--support-triage@0123456789ab", lora)
    labels = form_of(factories.spec())
    took = await seconds(
        upstream, "acme--support-triage@0123456789ab", {"free": ANYTHING, "held": labels}
    )
    await upstream.unload("acme--support-triage@0123456789ab")
    print({name: f"{1000 * value:.0f} ms an answer" for name, value in took.items()})
    # A held answer ends with its label. Measured beside other work: 346 ms free, 260 ms held.
    assert took["held"] < 2 * took["free"] + 0.1


async def test_a_base_model_that_is_held_keeps_the_form(upstream: Upstream) -> None:
    kept = {}
    for name, form in {"free": ANYTHING, "held": form_of(TRIP)}.items():
        answers = [
            await upstream.ask_in_form(
                "base", TRIP.detailed_messages((Message(role="user", content=trip),)), 40, form
            )
            for trip in TRIPS
        ]
        kept[name] = sum(well_formed(one.answer, TRIP) for one in answers)
        if name == "held":
            assert all(0 < one.confidence.score <= 1 for one in answers)
            assert all((one.confidence.features or {})["values"] >= 1 for one in answers)
    print(f"of {len(TRIPS)} answers in form: {kept}")
    assert kept["held"] > kept["free"]
