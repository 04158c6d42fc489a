"""A service's state follows from the log, until somebody changes a row."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from schemas.base import JsonObject
from schemas.topics import SERVICES
from services.router.state import RouteState
from tests import factories
from tests.faults.replay.proof import Proof, prove
from tests.integration.operations import System, running
from tests.integration.test_bus import producer, send
from tests.integration.test_operations import route_and_answers


async def proven(system: System, service: str) -> Proof:
    return await prove(
        service, system.urls[service], system.broker.servers, system.home, lambda *_: None
    )


async def as_program(system: System, service: str) -> tuple[int | None, JsonObject]:
    """Run the proof as a developer does; return its exit code and what it printed."""
    program = (sys.executable, "-m", "tests.faults.replay", service)
    child = await asyncio.create_subprocess_exec(
        *program,
        "--home",
        str(system.home.path),
        "--servers",
        system.broker.servers,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    output, errors = await child.communicate()
    assert output, errors.decode()
    return child.returncode, json.loads(output)


async def test_a_state_follows_from_the_log_until_a_row_is_changed(tmp_path: Path) -> None:
    async with running(tmp_path, "review", "dataset-builder") as system:
        await route_and_answers(system, 40)
        await system.say("capture", *[factories.feedback(value=-1.0) for _ in range(5)])
        await system.settled()
        proof = await proven(system, "dataset-builder")
        assert proof.proven, proof.as_json()
        assert {table.derived.table: table.equal for table in proof.tables} == {
            "routes": 1,
            "verdicts": 20,
            "feedback": 5,
        }

        (changed,) = system.rows("dataset-builder", "select review_id from verdicts limit 1")[0]
        system.broken(
            "dataset-builder", "update verdicts set answer = 'refund' where review_id = ?", changed
        )
        (gone,) = system.rows("dataset-builder", "select feedback_id from feedback limit 1")[0]
        system.broken("dataset-builder", "delete from feedback where feedback_id = ?", gone)
        proof = await proven(system, "dataset-builder")
        assert not proof.equal
        found = {table.derived.table: table for table in proof.tables}
        assert (found["verdicts"].differ, found["feedback"].only_rebuilt) == ([changed], [gone])
        assert len(set(found["verdicts"].fingerprints)) == 2
        code, said = await as_program(system, "dataset-builder")
        assert (code, changed in json.dumps(said["tables"]), said["proven"]) == (1, True, False)


@pytest.mark.faults
async def test_the_state_of_every_service_follows_from_the_log(tmp_path: Path) -> None:
    """Everything that travels travels, some of it more than once; one event is poison, one had to
    wait for its route.
    """
    champion = factories.adapter()
    async with running(tmp_path, *SERVICES) as system:
        early = factories.inference(
            arm="champion", adapter_id=champion.adapter_id, model=champion.adapter_id
        )
        await system.say("router", early)
        router = system.services["router"]
        async with router.db.transaction() as tx:
            state = RouteState(version=1, spec=factories.spec(), champion=champion)
            await router.parts.routes.save(tx, None, state, "created", "ada")
        answers = [
            factories.inference(arm="champion", adapter_id=champion.adapter_id) for _ in range(20)
        ]
        await system.say(
            "router", *answers, factories.review_requested(inference_id=answers[0].inference_id)
        )
        await system.say(
            "review",
            *[
                factories.review(inference_id=answer.inference_id, audit=True)
                for answer in answers[:9]
            ],
        )
        await system.say(
            "capture",
            *[
                factories.feedback(inference_id=answer.inference_id, value=-1.0)
                for answer in answers[5:9]
            ],
        )
        await system.say("dataset-builder", factories.dataset())
        await system.say("trainer", factories.trained())
        await system.say(
            "evaluator",
            factories.calibration(),
            factories.evaluated(adapter=factories.adapter("ba9876543210")),
            factories.drift(),
        )
        async with producer(system.broker.servers) as foreign:
            await foreign.send_and_wait("review-completed", b"poison", key=b"x")
            await send(foreign, answers[3])
        await system.settled()
        assert (await system.reconciled()).holds
        compared = {}
        for service in SERVICES:
            proof = await proven(system, service)
            assert proof.proven, proof.as_json()
            compared |= {f"{service}.{table.derived.table}": table.equal for table in proof.tables}
        assert proof.skipped == 1, "the poison"
    assert compared == {
        "capture.routes": 1,
        "review.routes": 1,
        "review.items": 21,
        "review.drift_batches": 1,
        "review.budgets": 0,
        "review.comparisons": 0,
        "review.concluded": 1,
        "dataset-builder.routes": 1,
        "dataset-builder.verdicts": 9,
        "dataset-builder.feedback": 4,
        "trainer.routes": 1,
        "trainer.jobs": 1,
        "evaluator.routes": 1,
        "evaluator.jobs": 1,
        "evaluator.answered": 1,
        "evaluator.looks": 9,
        "evaluator.judgements": 0,
        "evaluator.observations": 21,
        "evaluator.reviews": 9,
        "evaluator.feedback": 4,
        "router.calibrations": 1,
        "router.evaluations": 1,
        "router.outcomes": 9,
    }
