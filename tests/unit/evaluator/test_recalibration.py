"""What serves is calibrated once more where nothing holds for it, without a new adapter and without
a hand.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from schemas.base import AdapterRef
from schemas.events import CalibrationFitted, ChallengerState
from schemas.route import Targets
from services.evaluator.recalibration import KIND, Recalibration
from shared.jobs.worker import run_leased
from shared.rules import ANYTHING, form_of, population
from tests import factories
from tests.unit.evaluator.test_evaluation import announce, evaluate, published, world
from tests.unit.evaluator.worlds import store_adapter

__all__ = ["world"]


class Beside:
    """The recalibration beside a world's evaluation."""

    def __init__(self, world: SimpleNamespace) -> None:
        self.world = world
        self.parts = Recalibration(world.evaluation, world.populations)

    async def look(self) -> list[CalibrationFitted]:
        """Look once and do what there is to do; return what was published meanwhile."""
        _, before = await published(self.world)
        await self.parts.look()
        while job := await self.world.jobs.claim(KIND):
            await run_leased(self.world.jobs, job, self.parts.run)
        _, after = await published(self.world)
        return after[len(before) :]


@pytest.fixture
async def beside(world: SimpleNamespace) -> Beside:
    """An adapter was evaluated, and serves."""
    await evaluate(world)
    await announce(world, version=2, champion=world.adapter)
    return Beside(world)


def digests(fitted: list[CalibrationFitted]) -> set[str | None]:
    return {one.holds_for for one in fitted}


async def test_an_evaluation_says_what_its_numbers_hold_for(world: SimpleNamespace) -> None:
    world.engine.release = "0.32.0"
    await evaluate(world)
    [event], fitted = await published(world)
    name = world.adapter.adapter_id
    assert {one.adapter_id: one.holds_for for one in fitted} == {
        arm: population(factories.spec(), arm, "0.32.0", 0) for arm in (None, name)
    }
    assert event.holds_for == population(factories.spec(), name, "0.32.0", 0)


async def test_every_arm_is_asked_in_the_form_of_the_route(world: SimpleNamespace) -> None:
    await evaluate(world)
    form = form_of(factories.spec())
    # And freely for the probe alone, as the router asks it.
    assert world.engine.forms == {
        (model, asked) for model in (world.adapter.adapter_id, "base") for asked in (form, ANYTHING)
    }


async def test_nothing_is_asked_while_everything_holds(beside: Beside) -> None:
    asked = beside.world.engine.asked
    assert await beside.look() == await beside.look() == []
    assert beside.world.engine.asked == asked


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"system_prompt": "Name the label."}, True),
        ({"detailed_prompt": "Name one of {labels}."}, True),
        ({"max_tokens": 17}, True),
        ({"targets": Targets(max_risk=0.05)}, True),
        ({"labels": (*factories.spec().labels, "cancel")}, True),
        ({"system": "append"}, True),
        ({"guarantee": "strict"}, True),
        # What changes no answer voids nothing.
        ({"minimum_rows": 7, "guideline": "v2"}, False),
    ],
)
async def test_a_changed_route_is_calibrated_by_itself(
    beside: Beside, change: dict[str, Any], fits: bool
) -> None:
    spec = factories.spec(**change)
    await announce(beside.world, version=3, champion=beside.world.adapter, spec=spec)
    fitted = await beside.look()
    name = beside.world.adapter.adapter_id
    assert [one.adapter_id for one in fitted] == ([None, name, None] if fits else [])
    assert digests(fitted) == {population(spec, one.adapter_id, "", 0) for one in fitted}
    assert all(one.alpha == spec.targets.max_risk for one in fitted)
    # Behind the adapter only what it is not trusted with.
    assert [one.n == 60 for one in fitted] == ([True, True, False] if fits else [])
    # Once, also where the route was what it is before.
    await announce(beside.world, version=4, champion=beside.world.adapter)
    assert await beside.look() == await beside.look() == []


async def test_an_upgraded_home_is_calibrated_without_a_new_adapter(beside: Beside) -> None:
    """What an older release fitted names nothing, so that nothing is known of what it holds for."""
    async with beside.world.db.transaction() as tx:
        await tx.execute(beside.world.populations.table.delete())
    fitted = await beside.look()
    assert digests(fitted) == {
        population(factories.spec(), arm, "", 0) for arm in (None, beside.world.adapter.adapter_id)
    }
    assert await beside.look() == []


async def test_another_engine_is_calibrated_for(beside: Beside) -> None:
    beside.world.engine.release = "0.33.0"
    fitted = await beside.look()
    assert population(factories.spec(), None, "0.33.0", 0) in digests(fitted)
    assert await beside.look() == []


async def test_while_the_engine_is_away_it_is_looked_at_again(beside: Beside) -> None:
    beside.world.engine.release = "0.33.0"
    beside.world.engine.away = True
    with pytest.raises(Exception, match="does not answer"):
        await beside.parts.look()
    beside.world.engine.away = False
    assert len(await beside.look()) == 3


async def test_a_challenger_is_calibrated_too(beside: Beside) -> None:
    world = beside.world
    other: AdapterRef = store_adapter(world.blobs, world.path / "other", b"other weights")
    world.engine.right[other.adapter_id] = 8
    challenger = ChallengerState(adapter=other, share=0.1)
    await announce(world, version=3, champion=world.adapter, challenger=challenger)
    fitted = await beside.look()
    assert population(factories.spec(), other.adapter_id, "", 0) in digests(fitted)
    assert world.engine.loaded == []


async def test_what_a_waiting_evaluation_will_bring_is_not_asked_for(beside: Beside) -> None:
    world = beside.world
    await announce(world, version=3, champion=world.adapter, spec=factories.spec(max_tokens=17))
    async with world.db.transaction() as tx:
        event = factories.trained(
            adapter=world.adapter, dataset=world.dataset, spec=factories.spec(max_tokens=17)
        )
        await world.jobs.add(tx, "evaluate", event.event_id, event.model_dump(mode="json"))
    assert await beside.look() == []
    await run_leased(world.jobs, await world.jobs.claim("evaluate"), world.evaluation.run)
    assert await beside.look() == []


async def test_before_anything_was_trained_there_are_no_rows(world: SimpleNamespace) -> None:
    assert await Beside(world).look() == []


async def test_free_text_is_not_calibrated(beside: Beside) -> None:
    spec = factories.spec(task="conversation", labels=())
    await announce(beside.world, version=3, spec=spec)
    assert await beside.look() == []


async def test_rows_whose_answer_is_no_label_any_more_are_left_out(beside: Beside) -> None:
    spec = factories.spec(labels=factories.spec().labels[:2])
    await announce(beside.world, version=3, champion=beside.world.adapter, spec=spec)
    fitted = await beside.look()
    assert {one.n for one in fitted if one.behind is None} == {40}


async def test_a_form_that_is_not_held_is_asked_for_once(beside: Beside) -> None:
    """After a restart the evaluator has forgotten what the engine could not hold."""
    world = beside.world
    spec = factories.spec(max_tokens=17)
    await announce(world, version=3, champion=world.adapter, spec=spec)
    world.engine.grammar._steps[form_of(spec).key] = 1
    assert population(spec, None, "", 1) in digests(await beside.look())
    world.engine.grammar._steps.clear()
    assert await Beside(world).look() == []


async def test_answers_from_before_an_upgrade_are_asked_for_again(world: SimpleNamespace) -> None:
    world.engine.breaks_after = 100
    await evaluate(world)
    [transcript] = (world.path / "transcripts").iterdir()
    run_name = transcript.name.removesuffix(".jsonl").rpartition(".")[0]
    assert len(world.transcripts.read(run_name)) == 100
    transcript.write_text(transcript.read_text().replace('"rules"', '"older"'))
    assert world.transcripts.read(run_name) == {}


async def test_what_was_missed_while_the_route_moved_on_is_calibrated_when_it_comes_back(
    beside: Beside,
) -> None:
    world, changed = beside.world, factories.spec(max_tokens=17)
    await announce(world, version=3, champion=world.adapter, spec=changed)
    await beside.parts.look()
    # Before the job is begun, the route is what it was.
    await announce(world, version=4, champion=world.adapter)
    assert await beside.look() == []
    await announce(world, version=5, champion=world.adapter, spec=changed)
    assert len(await beside.look()) == 3
