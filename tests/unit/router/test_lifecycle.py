"""Adapters come into vLLM checked and proven, serve only then, survive its restart, and leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert

from schemas.base import AdapterRef
from schemas.evaluation import Probe
from schemas.route import CanaryChoice
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import until

SAW_DELIVERY = Probe(
    messages=factories.USER,
    answer="delivery",
    logprob=-0.05,
    base_logprob=-0.2,
    base_answer="delivery",
)

PATIENT = factories.spec(canary=CanaryChoice(quiet="wait"))


def proven(router: Running, adapter: AdapterRef) -> bool:
    return router.service.parts.fleet.serving(adapter.adapter_id)


async def history(router: Running) -> list[dict[str, Any]]:
    async with router.http() as http:
        return (await http.get(f"/v1/routes/{factories.ROUTE}")).json()["history"]


async def test_a_promoted_adapter_is_loaded_proven_and_serves(router: Running) -> None:
    await router.create()
    adapter = router.adapter()
    await router.promote(adapter, probe=SAW_DELIVERY)
    assert router.vllm.adapters[adapter.adapter_id].endswith(adapter.blob.sha256)
    await router.handle(factories.calibration(adapter_id=adapter.adapter_id, threshold=0.7))
    answer = await router.chat()
    assert answer.headers["x-ratchet-arm"] == "champion"
    assert answer.headers["x-ratchet-adapter"] == adapter.adapter_id
    assert answer.headers["x-ratchet-outcome"] == "confident"
    assert router.vllm.asked[-1]["messages"][0] == {
        "role": "system",
        "content": "Classify the message.",
    }
    moves = await history(router)
    assert [move["version"] for move in moves] == [3, 2, 1]
    assert [event["version"] for event in await router.events("RouteChanged")] == [1, 2, 3]
    assert "canary passed" in moves[0]["because"]


async def test_an_unsure_champion_asks_the_base_model(router: Running) -> None:
    await router.create()
    await router.promote(router.adapter(), probe=None)
    champion = router.state().champion.adapter_id
    await router.handle(factories.calibration(adapter_id=champion, threshold=0.99))
    unsure = (await router.chat()).json()["ratchet"]
    assert (unsure["outcome"], unsure["arm"], [a["arm"] for a in unsure["attempts"]]) == (
        "unsure",
        "champion",
        ["champion", "base"],
    )
    await router.handle(factories.calibration(adapter_id=None, threshold=0.7))
    rescued = (await router.chat()).json()["ratchet"]
    assert (rescued["outcome"], rescued["arm"], rescued["adapter"]) == ("fell_back", "base", None)


async def test_no_traffic_before_the_probe_passed(router: Running) -> None:
    """An adapter that vLLM silently does not apply answers like the base model."""
    await router.create()
    router.vllm.answers = lambda *_: ("delivery", -0.2)
    adapter = router.adapter()
    await router.handle(factories.evaluated(adapter=adapter, probe=SAW_DELIVERY))
    await until(lambda: router.state().challenger is None, 15)
    assert router.state().champion is None
    assert "exactly like the base model" in (await history(router))[0]["because"]
    assert not any(
        asked["model"] == adapter.adapter_id
        and asked["messages"][-1]["content"] == "Where is my parcel?"
        for asked in router.vllm.asked
    )
    assert adapter.adapter_id not in router.vllm.adapters


async def test_an_adapter_that_answers_otherwise_than_evaluated_is_not_served(
    router: Running,
) -> None:
    await router.create()
    router.vllm.answers = lambda model, _: (
        ("refund", -3.0) if model != "base" else ("delivery", -0.2)
    )
    await router.handle(factories.evaluated(adapter=router.adapter(), probe=SAW_DELIVERY))
    await until(lambda: router.state().challenger is None, 15)
    assert "otherwise than when it was evaluated" in (await history(router))[0]["because"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"evil.py": "import os"}, "evil.py"),
        ({"chat_template.jinja": "{{ x }}"}, "chat_template.jinja"),
        ({"adapter_config.json": '{"peft_type": "LORA", "use_dora": true}'}, "use_dora"),
    ],
)
async def test_a_folder_with_more_than_weights_never_reaches_vllm(
    router: Running, files: dict[str, str], says: str
) -> None:
    await router.create()
    await router.handle(factories.evaluated(adapter=router.adapter("bad", **files)))
    await until(lambda: router.state().challenger is None, 15)
    assert says in (await history(router))[0]["because"]
    assert router.vllm.calls == []


async def test_a_tampered_cache_is_fetched_again_and_a_tampered_store_refused(
    router: Running, settings: dict
) -> None:
    await router.create()
    adapter = router.adapter()
    await router.promote(adapter, probe=None)
    cached = settings["adapter_cache"] / adapter.blob.sha256 / "adapter_config.json"
    cached.write_text('{"peft_type": "LORA", "r": 4, "bias": "none"}')
    router.vllm.restart()
    await until(
        lambda: (
            router.vllm.calls.count(("load", adapter.adapter_id)) == 2 and proven(router, adapter)
        )
    )
    assert '"r": 8' in cached.read_text()
    other = AdapterRef(adapter_id=adapter.adapter_id[:-12] + "0" * 12, blob=adapter.blob)
    await router.handle(
        factories.evaluated(adapter=other, arms=())
        if router.state().champion is None
        else factories.evaluated(
            adapter=other,
            arms=(
                factories.evaluated()
                .arms[0]
                .model_copy(update={"arm": "champion", "adapter_id": adapter.adapter_id}),
            ),
        )
    )
    await until(lambda: router.state().challenger is None, 15)
    assert "does not match its digest" in (await history(router))[0]["because"]


async def test_a_vllm_that_restarted_gets_its_adapters_back_and_nobody_fails_meanwhile(
    router: Running,
) -> None:
    await router.create()
    adapter = router.adapter()
    await router.promote(adapter, probe=SAW_DELIVERY)
    router.vllm.restart()
    meanwhile = await router.chat()
    assert meanwhile.status_code == 200
    await until(lambda: adapter.adapter_id in router.vllm.adapters and proven(router, adapter))
    assert (await router.chat()).headers["x-ratchet-arm"] == "champion"


async def test_a_champion_that_vllm_forgot_falls_back_to_base_and_says_so(router: Running) -> None:
    await router.create()
    adapter = router.adapter()
    await router.promote(adapter, probe=None)
    router.vllm.fail_load = (500, "no memory")
    router.vllm.restart()
    body = (await router.chat()).json()["ratchet"]
    assert body["arm"] == "base"
    assert adapter.adapter_id in body["note"]
    await until(lambda: not proven(router, adapter))
    assert "not loaded yet" in (await router.chat()).json()["ratchet"]["note"]
    # a champion is never dropped because vLLM is in trouble
    assert router.state().champion == adapter
    router.vllm.fail_load = None
    await until(lambda: proven(router, adapter), 15)


async def test_what_is_not_wanted_is_unloaded_but_the_previous_champion_stays(
    router: Running,
) -> None:
    await router.create()
    one, two, three = (router.adapter(mark) for mark in ("one", "two", "three"))
    for adapter in (one, two, three):
        arms = (
            ()
            if router.state().champion is None
            else (
                factories.evaluated()
                .arms[0]
                .model_copy(
                    update={"arm": "champion", "adapter_id": router.state().champion.adapter_id}
                ),
            )
        )
        await router.promote(adapter, probe=None, arms=arms)
    router.vllm.adapters["someone-elses"] = "/x"
    await until(lambda: one.adapter_id not in router.vllm.adapters)
    assert set(router.vllm.adapters) == {two.adapter_id, three.adapter_id, "someone-elses"}


async def test_rollback_to_the_previous_champion_is_instant_and_then_to_base(
    router: Running,
) -> None:
    await router.create()
    one = router.adapter("one")
    two = router.adapter("two")
    await router.promote(one, probe=None)
    champion_arm = (
        factories.evaluated()
        .arms[0]
        .model_copy(update={"arm": "champion", "adapter_id": one.adapter_id})
    )
    await router.promote(two, probe=None, arms=(champion_arm,))
    async with router.http() as http:
        await http.post(f"/v1/routes/{factories.ROUTE}/rollback")
        assert (await router.chat()).headers["x-ratchet-adapter"] == one.adapter_id
        await http.post(
            f"/v1/routes/{factories.ROUTE}/rollback",
            json={"to": two.adapter_id, "because": "it was not the adapter"},
        )
        assert router.state().champion == two
        await http.post(f"/v1/routes/{factories.ROUTE}/rollback", json={"to": "base"})
        assert (await router.chat()).headers["x-ratchet-arm"] == "base"
        refused = await http.post(f"/v1/routes/{factories.ROUTE}/rollback")
        unknown = await http.post(
            f"/v1/routes/{factories.ROUTE}/rollback",
            json={"to": "acme--support-triage@ffffffffffff"},
        )
    assert (refused.status_code, unknown.status_code) == (409, 409)
    assert "never proven" in unknown.json()["detail"]
    # a late second verdict must not undo what a person decided
    await router.handle(factories.evaluated(adapter=two))
    assert router.state().challenger is None


async def test_a_verdict_against_another_champion_promotes_nothing(router: Running) -> None:
    await router.create()
    await router.promote(router.adapter("one"), probe=None)
    version = router.state().version
    await router.handle(factories.evaluated(adapter=router.adapter("two")))
    await router.handle(factories.evaluated(adapter=router.adapter("three"), verdict="reject"))
    assert router.state().version == version


@pytest.fixture
def settings_with_canary(settings: dict[str, Any]) -> None:
    settings.update(canary_share=0.5, canary_requests=20, canary_seconds=0.0)


@pytest.mark.usefixtures("settings_with_canary")
async def test_a_canary_takes_its_share_of_sessions_and_then_all(router: Running) -> None:
    await router.create(PATIENT)
    adapter = router.adapter()
    await router.handle(factories.evaluated(adapter=adapter, probe=SAW_DELIVERY))
    await until(lambda: proven(router, adapter))
    arms: dict[str, set[str]] = {}
    for number in range(12):
        for _ in range(2):
            answer = await router.chat(user=f"user-{number}")
            arms.setdefault(f"user-{number}", set()).add(answer.headers["x-ratchet-arm"])
    assert all(len(seen) == 1 for seen in arms.values())
    assert {arm for seen in arms.values() for arm in seen} == {"base", "challenger"}
    assert router.state().champion is None
    await asyncio.gather(*(router.chat(user=f"other-{number}") for number in range(60)))
    await until(lambda: router.state().champion == adapter)


@pytest.mark.usefixtures("settings_with_canary")
async def test_a_canary_that_breaks_the_format_is_stopped_by_its_answers(router: Running) -> None:
    await router.create(PATIENT)
    router.vllm.answers = lambda model, messages: (
        ("delivery", -0.2)
        if model == "base"
        else (
            ("delivery", -0.05)
            if messages[-1]["content"] == factories.USER[0].content
            else ("I cannot help with that", -0.1)
        )
    )
    adapter = router.adapter()
    await router.handle(factories.evaluated(adapter=adapter, probe=SAW_DELIVERY))
    await until(lambda: proven(router, adapter))
    await asyncio.gather(*(router.chat(user=f"user-{number}") for number in range(12)))
    await until(lambda: router.state().challenger is None)
    assert router.state().champion is None
    assert "failed or broke the format" in (await history(router))[0]["because"]


async def test_rows_of_another_process_are_seen(router: Running) -> None:
    """Another replica's move reaches this one through the database alone."""
    await router.create()
    routes = router.service.parts.routes
    state = router.state()
    async with router.service.db.transaction() as tx:
        await routes.save(
            tx,
            state,
            state.respecified(factories.spec(max_tokens=3), 1.0),
            "spec changed",
            "elsewhere",
        )
    await until(lambda: router.state().spec.max_tokens == 3)
    async with router.service.db.transaction() as tx:
        await tx.execute(
            insert(routes.tables.canaries).values(route="x", adapter_id="y", started_at=1.0)
        )
