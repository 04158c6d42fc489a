"""A strict route trusts what is certified alone, and says of the rest what it lacks."""

from __future__ import annotations

from typing import Any

from schemas.route import RouteSpec
from tests import factories
from tests.unit.router.conftest import Running

STRICT = factories.spec(guarantee="strict")


async def champion(router: Running, spec: RouteSpec = STRICT, **fitted: Any) -> str:
    """Promote an adapter, and calibrate it."""
    await router.create(spec)
    await router.promote(router.adapter(), probe=None)
    name: str = router.state().champion.adapter_id
    await router.handle(factories.calibration(spec, adapter_id=name, **fitted))
    return name


async def test_a_route_is_strict_unless_it_was_made_before_or_says_otherwise(
    router: Running,
) -> None:
    said = STRICT.model_dump(mode="json", exclude={"guarantee", "canary"})
    async with router.http() as http:
        new = (await http.post("/v1/routes", json=said)).json()["spec"]
        assert (new["guarantee"], new["canary"]) == ("strict", {"quiet": "wait", "shadow": 0.0})
        other = said | {"guarantee": "best-effort", "canary": {"quiet": "promote", "shadow": 0.0}}
        await http.post("/v1/routes", json=other)
        kept = (await http.post("/v1/routes", json=said)).json()["spec"]
        assert (kept["guarantee"], kept["canary"]) == (
            "best-effort",
            {"quiet": "promote", "shadow": 0.0},
        )


async def test_an_answer_that_lacks_a_certificate_alone_is_provisional_and_asks_nobody(
    router: Running,
) -> None:
    await champion(router, certified=False, threshold=0.9)
    answer = await router.chat()
    said = answer.json()["ratchet"]
    assert (said["outcome"], said["certified"], said["provisional"]) == ("unsure", False, True)
    assert answer.headers["x-ratchet-provisional"] == "true"
    assert answer.headers["x-ratchet-certified"] == "false"
    # A base model without a certificate cannot take over, and is not asked.
    assert [one["arm"] for one in said["attempts"]] == ["champion"]
    (recorded,) = await router.events("InferenceRecorded")
    assert recorded["provisional"] is True
    assert recorded["confidence"]["certified"] is False
    assert await router.events("ReviewRequested") == []


async def test_best_effort_trusts_it_and_says_that_it_is_not_certified(router: Running) -> None:
    await champion(router, factories.spec(), certified=False, threshold=0.9)
    said = (await router.chat()).json()["ratchet"]
    assert (said["outcome"], said["certified"], said["provisional"]) == ("confident", False, False)
    assert "provisional" not in (await router.events("InferenceRecorded"))[0]


async def test_a_certified_answer_is_trusted_on_a_strict_route(router: Running) -> None:
    await champion(router, certified=True, threshold=0.9)
    said = (await router.chat()).json()["ratchet"]
    assert (said["outcome"], said["certified"], said["provisional"]) == ("confident", True, False)


async def test_an_answer_that_is_improbable_goes_to_a_human(router: Running) -> None:
    await champion(router, certified=False, threshold=0.9, intercept=-3.0)
    said = (await router.chat()).json()["ratchet"]
    assert (said["outcome"], said["provisional"]) == ("unsure", False)
    assert len(await router.events("ReviewRequested")) == 1


async def test_the_base_model_behind_an_adapter_is_judged_by_what_reaches_it(
    router: Running,
) -> None:
    own = factories.calibration().calibration_id
    await champion(router, calibration_id=own, threshold=0.99)
    await router.handle(factories.calibration(STRICT, adapter_id=None, threshold=0.7))
    unproven = (await router.chat()).json()["ratchet"]
    assert (unproven["outcome"], unproven["arm"]) == ("unsure", "champion")
    behind = factories.calibration(STRICT, adapter_id=None, threshold=0.7, behind=own)
    await router.handle(behind)
    said = (await router.chat()).json()["ratchet"]
    assert (said["outcome"], said["arm"], said["certified"]) == ("fell_back", "base", True)
    assert said["attempts"][-1]["confidence"]["calibration_id"] == behind.calibration_id
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()
    assert [one["behind"] for one in shown["calibrations"]] == [None, None, own]


async def test_best_effort_makes_do_with_the_base_models_own_calibration(router: Running) -> None:
    await champion(router, factories.spec(), threshold=0.99)
    await router.handle(factories.calibration(adapter_id=None, threshold=0.7))
    assert (await router.chat()).json()["ratchet"]["outcome"] == "fell_back"
