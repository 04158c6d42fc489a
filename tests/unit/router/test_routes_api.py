"""Routes are made, shown and kept apart by tenant; every move is compare-and-swap, on SQLite and on
Postgres.
"""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from sqlalchemy import MetaData, func, select

from services.router.handlers import RouteHandlers
from services.router.rollout import CanaryRule
from services.router.state import RouteState
from services.router.store.routes import RouteDatabase, RouteMoved
from services.router.store.shadows import ShadowStore
from services.router.store.views import RouteViews
from shared.events.outbox import Outbox
from shared.rules.routes import RouteUnknown
from shared.storage.db import Database
from tests import factories
from tests.unit.router.conftest import Running


async def test_an_identical_spec_is_a_no_op_and_a_new_one_a_version(router: Running) -> None:
    assert (await router.create())["version"] == 1
    assert (await router.create())["version"] == 1
    assert (await router.create(factories.spec(max_tokens=9)))["version"] == 2
    assert [event["version"] for event in await router.events("RouteChanged")] == [1, 2]


async def test_bad_specs_and_foreign_names_are_refused(router: Running) -> None:
    good = factories.spec().model_dump(mode="json")
    async with router.http() as http:
        foreign = await http.post("/v1/routes", json=good | {"name": "globex/x"})
        typo = await http.post("/v1/routes", json=good | {"lables": []})
        one_label = await http.post("/v1/routes", json=good | {"labels": ["a"]})
    assert (foreign.status_code, foreign.json()["error"]) == (403, "TenantMismatch")
    assert (typo.status_code, "lables" in typo.json()["detail"]) == (422, True)
    assert (one_label.status_code, "at least two labels" in one_label.json()["detail"]) == (
        422,
        True,
    )


async def test_routes_of_another_tenant_do_not_exist(router: Running) -> None:
    await router.create()
    async with router.http() as mine, router.http("globex") as other:
        assert [route["route"] for route in (await mine.get("/v1/routes")).json()["items"]] == [
            factories.ROUTE
        ]
        assert (await other.get("/v1/routes")).json() == {"items": [], "next": None}
        assert (await other.get(f"/v1/routes/{factories.ROUTE}")).status_code == 404
        assert (await other.post(f"/v1/routes/{factories.ROUTE}/rollback")).status_code == 404


async def test_listings_are_paginated(router: Running) -> None:
    for number in range(3):
        await router.create(factories.spec(name=f"acme/route-{number}"))
    async with router.http() as http:
        first = (await http.get("/v1/routes", params={"limit": 2})).json()
        second = (await http.get("/v1/routes", params={"limit": 2, "offset": first["next"]})).json()
    assert [route["route"] for route in first["items"] + second["items"]] == [
        f"acme/route-{n}" for n in range(3)
    ]
    assert second["next"] is None


@pytest.fixture
async def routes(db: Database) -> RouteDatabase:
    metadata = MetaData()
    found = RouteDatabase(metadata, Outbox("router", metadata))
    await db.create_tables(metadata)
    return found


async def test_of_two_moves_at_once_one_wins(db: Database, routes: RouteDatabase) -> None:
    state = RouteState(version=1, spec=factories.spec())
    async with db.transaction() as tx:
        await routes.save(tx, None, state, "created", "ada")

    async def move(actor: str) -> None:
        async with db.transaction() as tx:
            await routes.save(
                tx, state, state.challenged(factories.adapter(), 0.2), "canary", actor
            )

    outcomes = await asyncio.gather(*(move(f"actor-{n}") for n in range(5)), return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, RouteMoved) for outcome in outcomes)
    async with db.read() as connection:
        assert len(await routes.history(connection, state.route, 10, None)) == 2
        assert (await routes.load(connection, state.route)).version == 2
        with pytest.raises(RouteUnknown):
            await routes.load(connection, "acme/none")


async def test_views_hold_the_newest_calibration_and_probe(
    db: Database, routes: RouteDatabase
) -> None:
    state = RouteState(version=1, spec=factories.spec(), champion=factories.adapter())
    async with db.transaction() as tx:
        await routes.save(tx, None, state, "created", "ada")
        views = RouteViews(routes.tables)
        before = await views.marker(tx)
        for slope, adapter_id in (
            (1.0, state.champion.adapter_id),
            (2.0, state.champion.adapter_id),
            (3.0, None),
        ):
            await routes.on_calibration_fitted(
                tx, factories.calibration(slope=slope, adapter_id=adapter_id)
            )
        event = factories.evaluated()
        assert await routes.add_evaluation(tx, event, "canary")
        assert not await routes.add_evaluation(tx, event, "canary")
        await routes.add_outcome(tx, factories.review(audit=True))
        assert await views.marker(tx) != before
        assert await routes.canary_counts(tx, state.route, "x") == (0, 0, 0)
        view = (await views.read(tx))[state.route]
    assert {fitted.adapter_id: fitted.slope for fitted in view.calibrations} == {
        state.champion.adapter_id: 2.0,
        None: 3.0,
    }
    assert view.probes[state.champion.adapter_id] == event.probe


async def test_a_new_route_serves_what_apps_say_and_an_old_one_until_its_owner_chooses(
    router: Running,
) -> None:
    sent = factories.spec().model_dump(mode="json")
    del sent["system"]
    async with router.http() as http:
        new = (await http.post("/v1/routes", json=sent)).json()
        chosen = (await http.post("/v1/routes", json=sent | {"system": "replace"})).json()
        again = (await http.post("/v1/routes", json=sent)).json()
    assert [one["spec"]["system"] for one in (new, chosen, again)] == [
        "append",
        "replace",
        "replace",
    ]
    assert [one["version"] for one in (new, chosen, again)] == [1, 2, 2]


async def test_another_system_rule_voids_what_was_calibrated(router: Running) -> None:
    await router.create()
    await router.handle(factories.calibration(adapter_id=None, threshold=0.7))
    assert (await router.chat()).headers["x-ratchet-outcome"] == "confident"
    await router.create(factories.spec(system="append"))
    assert (await router.chat()).headers["x-ratchet-confidence"] == "uncalibrated"


async def test_the_apps_context_arrives(router: Running) -> None:
    await router.create(factories.spec(system="append"))
    messages = [
        {"role": "system", "content": "Plan: premium."},
        {"role": "user", "content": "Can I get a refund?"},
    ]
    answer = (await router.chat(messages=messages)).json()
    assert router.vllm.asked[-1]["messages"] == [
        {
            "role": "system",
            "content": "Choose one of: delivery, refund, password.\n\nPlan: premium.",
        },
        messages[1],
    ]
    assert answer["ratchet"]["ignored"] == []


async def test_a_second_look_is_no_outcome(db: Database, routes: RouteDatabase) -> None:
    # Verdicts ask no rule of canaries.
    shadows = ShadowStore(db, routes.tables)
    handlers = RouteHandlers(routes, shadows, cast(CanaryRule, None))
    async with db.transaction() as tx:
        await handlers.on_review_completed(tx, factories.review(audit=True, second_of="r1"))
        table = routes.tables.outcomes
        assert (await tx.execute(select(func.count()).select_from(table))).scalar_one() == 0
        await handlers.on_review_completed(tx, factories.review(audit=True))
        assert (await tx.execute(select(func.count()).select_from(table))).scalar_one() == 1
