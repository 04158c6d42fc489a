"""Whatever a model answers on a route with a schema, the app gets it and it is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.route import RouteSpec
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

INVOICE = factories.spec(
    task="extraction",
    labels=(),
    output_schema={
        "type": "object",
        "required": ["total"],
        "properties": {"total": {"type": "number"}, "next": {"$ref": "#"}},
    },
)
FLAWED = {
    "a list never closed": "[" * 2000,
    "objects never closed": '{"next":' * 2000,
    "closed, and too deep": '{"next":' * 300 + "1" + "}" * 300,
    "deeper than any stack": "[" * 100_000 + "]" * 100_000,
    "no object": "[]",
    "null": "null",
    "no number": '{"total": NaN}',
    "an apology": '"sorry"',
    "two of one name": '{"total": 1, "total": 2}',
    "a number without end": "1" * 100_000,
    "half a surrogate pair": '{"total": 1, "x": "\\ud800"}',
    "nothing": "",
}
GOOD = '{"total": 1e2, "next": {"total": 3}}'


async def counted(router: Running, adapter_id: str) -> tuple[int, int]:
    routes = router.service.parts.routes
    async with router.service.db.read() as connection:
        asked, failed, _ = await routes.canary_counts(connection, factories.ROUTE, adapter_id)
    return asked, failed


@pytest.mark.parametrize("name", FLAWED)
async def test_a_malformed_answer_is_given_recorded_and_counted(
    router: Running, settings: dict[str, Any], name: str
) -> None:
    answer = FLAWED[name]
    router.vllm.answers = lambda model, _: (
        (answer if "@" in model else GOOD),
        -0.05 if "@" in model else -0.2,
    )
    await router.create(INVOICE)
    adapter = router.adapter()
    await router.promote(adapter, probe=None)
    await until(lambda: router.service.parts.fleet.serving(adapter.adapter_id))
    response = await router.chat()
    assert response.status_code == 200, response.text
    [recorded] = await router.events("InferenceRecorded")
    said = [attempt["answer"] for attempt in recorded["attempts"]]
    if len(answer) < 100_000:
        assert answer in said
    assert await counted(router, adapter.adapter_id) == (1, 1)


async def test_a_well_formed_one_is_no_failure(router: Running) -> None:
    router.vllm.answers = lambda model, _: (GOOD, -0.05 if "@" in model else -0.2)
    await router.create(INVOICE)
    adapter = router.adapter()
    await router.promote(adapter, probe=None)
    await until(lambda: router.service.parts.fleet.serving(adapter.adapter_id))
    assert (await router.chat()).status_code == 200
    assert await counted(router, adapter.adapter_id) == (1, 0)


async def test_the_white_space_of_a_format_reaches_the_app(router: Running) -> None:
    router.vllm.answers = lambda *_: ("  a\n    b\n", -0.05)
    await router.create(factories.spec(task="format", labels=()))
    body = (await router.chat()).json()
    assert body["choices"][0]["message"]["content"] == "  a\n    b"
    [recorded] = await router.events("InferenceRecorded")
    assert recorded["answer"] == "  a\n    b"


@pytest.mark.parametrize(
    ("spec", "answer", "base"),
    [
        (INVOICE, '{"total": "1"}', GOOD),
        (INVOICE, '{"total": 1', GOOD),
        (factories.spec(), "parcel", "refund"),
        (factories.spec(labels=("退款", "订单")), "我要退款", "退款"),
    ],
    ids=["broken schema", "cut", "no label", "a sentence"],
)
async def test_what_breaks_the_form_is_never_confident(
    router: Running, spec: RouteSpec, answer: str, base: str
) -> None:
    router.vllm.answers = lambda model, _: (answer, -0.001) if "@" in model else (base, -0.2)
    await router.create(spec)
    await router.promote(router.adapter(), probe=None)
    champion = router.state().champion.adapter_id
    await router.handle(factories.calibration(spec, adapter_id=champion, threshold=0.5))
    unsure = (await router.chat()).json()
    assert unsure["ratchet"]["outcome"] == "unsure"
    assert unsure["choices"][0]["message"]["content"] == base
    await router.handle(factories.calibration(spec, adapter_id=None, threshold=0.5))
    rescued = (await router.chat()).json()
    assert (rescued["ratchet"]["outcome"], rescued["ratchet"]["arm"]) == ("fell_back", "base")
    router.vllm.answers = lambda *_: (answer, -0.001)
    assert (await router.chat()).json()["ratchet"]["outcome"] == "unsure"
