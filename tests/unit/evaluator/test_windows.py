"""The simulations take the same steps as the loop: the same windows fire, the same alarms come."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import sqlalchemy as sa

from schemas.route import DriftRule
from tests import factories
from tests.simulations.input_monitors import MONDAY, World, alarms, stream
from tests.unit.evaluator.test_watch import CHAMPION, look, world  # noqa: F401 - a fixture
from tests.unit.evaluator.worlds import handlers

ANSWERS = 900
RULE = DriftRule(reference=80, window=40)


async def test_simulated_alarms_are_those_of_the_loop(
    world: SimpleNamespace,  # noqa: F811
) -> None:
    rng = np.random.default_rng(11)
    changing = World("x", pace=20.0, swing=0.1, change=500, new=0.6)
    sample, at = stream(changing, rng, ANSWERS)
    async with world.db.transaction() as tx:
        event = factories.route_changed(champion=CHAMPION, spec=factories.spec(drift=RULE))
        await handlers(world).on_route_changed(tx, event)
        rows = [
            {
                "inference_id": f"inference-{number:05}",
                "route": factories.ROUTE,
                "adapter_id": CHAMPION.adapter_id,
                "at": float(at[number]),
                "score": float(sample.score[number]),
                "label": sample.label[number],
                "words": int(sample.words[number]),
                "wording": np.minimum(sample.wording[number], 255).astype(np.uint8).tobytes(),
                "outcome": "confident",
            }
            for number in range(ANSWERS)
        ]
        await tx.execute(sa.insert(world.streams.observations), rows)
    assert at[0] >= MONDAY
    expected = alarms(sample, at, RULE.reference, RULE.window)
    found = await look(world)
    # Labels of the first alarm are awaited, so the loop raises no second one.
    assert expected and len(found) == 1
    first = expected[0] - RULE.window
    assert abs(found[0].window_started_at.timestamp() - at[first]) < 1e-3
