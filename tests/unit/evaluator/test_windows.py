"""The simulations take the same steps as the loop: the same windows are compared, the same alarms
come.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from schemas.monitoring import Statistic
from schemas.route import DriftRule
from services.evaluator.drift import Sample
from tests import factories
from tests.simulations.input_monitors import MONDAY, Floats, World, alarms, stream
from tests.unit.evaluator.test_watch import CHAMPION, look, world  # noqa: F401 - a fixture
from tests.unit.evaluator.worlds import handlers

ANSWERS = 900
MANY = 10_000
REFERENCE = 200
WINDOW = 100
RULE = DriftRule(reference=80, window=40)


async def watched(
    world: SimpleNamespace,  # noqa: F811
    sample: Sample,
    at: Floats,
    rule: DriftRule,
) -> None:
    """Let the loop have heard a stream of answers."""
    async with world.db.transaction() as tx:
        event = factories.route_changed(champion=CHAMPION, spec=factories.spec(drift=rule))
        await handlers(world).on_route_changed(tx, event)
        rows = [
            {
                "inference_id": f"inference-{number:05}",
                "route": factories.ROUTE,
                "adapter_id": CHAMPION.adapter_id,
                "at": float(moment),
                "score": float(sample.score[number]),
                "label": sample.label[number],
                "words": int(sample.words[number]),
                "wording": np.minimum(sample.wording[number], 255).astype(np.uint8).tobytes(),
                "outcome": "confident",
            }
            for number, moment in enumerate(at)
        ]
        await tx.execute(sa.insert(world.streams.observations), rows)


async def test_simulated_alarms_are_those_of_the_loop(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    rng = np.random.default_rng(11)
    changing = World("x", pace=20.0, swing=0.1, change=500, new=0.6)
    sample, at = stream(changing, rng, ANSWERS)
    await watched(world, sample, at, RULE)
    assert at[0] >= MONDAY
    expected = alarms(sample, at, RULE.reference, RULE.window)
    found = await look(world)
    # Labels of the first alarm are awaited, so the loop raises no second one.
    assert expected and len(found) == 1
    first = expected[0] - RULE.window
    assert abs(found[0].window_started_at.timestamp() - at[first]) < 1e-3


def digest(reference: Sample, current: Sample, seed: int) -> tuple[Statistic, ...]:
    """Fire by what is compared with what, whatever its order: about every third time."""
    told = [np.sort(one).sum() for one in (reference.score, current.score)]
    value = float(np.round(told[0] + 7 * told[1], 6)) * (seed + 1)
    fired = int(value * 1e6) % 3 == 0
    return (Statistic(name="digest", value=value, threshold=0.0, fired=fired),)


async def test_they_compare_the_same_windows_with_the_same_references(
    world: SimpleNamespace,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """10,000 answers, with alarms after which everything starts over: what an alarm awaits is over
    at once.
    """
    compared: list[float] = []

    def compare(reference: Sample, current: Sample, seed: int) -> tuple[Statistic, ...]:
        found = digest(reference, current, seed)
        compared.append(found[0].value)
        return found

    monkeypatch.setattr("services.evaluator.windows.compare", compare)
    monkeypatch.setattr("tests.simulations.input_monitors.compare", compare)
    monkeypatch.setattr("services.evaluator.rises.PENDING_SECONDS", -1.0)
    rng = np.random.default_rng(12)
    sample, at = stream(World("x", pace=30.0, swing=0.1), rng, MANY)
    await watched(world, sample, at, DriftRule(reference=REFERENCE, window=WINDOW))
    expected = alarms(sample, at, REFERENCE, WINDOW)
    simulated, compared = compared, []
    found = await look(world)
    assert compared == simulated
    assert len(found) == len(expected) > 5
