"""An adapter's evaluation as a job: the same rows for every arm, a verdict with its numbers, all of
it in one transaction.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import MetaData, func, select

from schemas.base import Message
from schemas.events import AdapterEvaluated, CalibrationFitted
from services.evaluator.asking import Questions
from services.evaluator.contests import JOB
from services.evaluator.evaluation import Evaluation
from services.evaluator.spending import level
from services.evaluator.store.evaluations import EvaluationStore
from services.evaluator.store.populations import PopulationStore
from services.evaluator.store.reviewers import LookStore
from services.evaluator.store.transcripts import TranscriptStore
from shared.events.outbox import Outbox
from shared.jobs.worker import Job, JobStore, run_leased
from shared.rules.routes import RouteBook
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from tests import factories
from tests.unit.evaluator.worlds import (
    NoReports,
    ScriptedEngine,
    contests_over,
    handlers,
    held_out_texts,
    store_adapter,
    store_dataset,
)

ROWS = held_out_texts(80)


@pytest.fixture
async def world(db: Database, tmp_path: Path) -> SimpleNamespace:
    metadata = MetaData()
    outbox = Outbox("evaluator", metadata)
    jobs = JobStore(db, metadata)
    routes = RouteBook(metadata)
    evaluations = EvaluationStore(metadata)
    populations = PopulationStore(metadata)
    looks = LookStore(metadata)
    blobs = BlobStore(f"file://{tmp_path}/artifacts")
    reports = NoReports()
    contests = contests_over(metadata, db, jobs, outbox, routes, evaluations, blobs, reports)
    await db.create_tables(metadata)
    dataset = store_dataset(blobs, tmp_path / "dataset", ROWS)
    adapter = store_adapter(blobs, tmp_path / "adapter")
    engine = ScriptedEngine(ROWS, {"base": 2, adapter.adapter_id: 9})
    transcripts = TranscriptStore(tmp_path / "transcripts")
    evaluation = Evaluation(
        db=db,
        jobs=jobs,
        outbox=outbox,
        routes=routes,
        evaluations=evaluations,
        blobs=blobs,
        generator=engine,
        transcripts=transcripts,
        questions=Questions(jobs, engine, transcripts, concurrency=8),
        reports=reports,
        populations=populations,
        looks=looks,
        contests=contests,
        cache_dir=tmp_path / "cache",
    )
    world = SimpleNamespace(
        db=db,
        outbox=outbox,
        jobs=jobs,
        routes=routes,
        evaluations=evaluations,
        populations=populations,
        blobs=blobs,
        engine=engine,
        reports=reports,
        evaluation=evaluation,
        contests=contests,
        transcripts=transcripts,
        dataset=dataset,
        adapter=adapter,
        path=tmp_path,
    )
    await announce(world)
    return world


async def announce(world: SimpleNamespace, **changes) -> None:
    async with world.db.transaction() as tx:
        await world.routes.on_route_changed(tx, factories.route_changed(**changes))


async def evaluate(world: SimpleNamespace, **changes) -> Job:
    """Handle the event, then let a worker take the job; returns the job as it ended."""
    event = factories.trained(**({"adapter": world.adapter, "dataset": world.dataset} | changes))
    async with world.db.transaction() as tx:
        await handlers(world).on_adapter_trained(tx, event)
    await run_leased(world.jobs, await world.jobs.claim(JOB), world.evaluation.run)
    return (await world.jobs.all())[0]


async def published(
    world: SimpleNamespace,
) -> tuple[list[AdapterEvaluated], list[CalibrationFitted]]:
    table = world.outbox.table
    async with world.db.read() as connection:
        rows = (await connection.execute(select(table).order_by(table.c.seq))).all()
    return (
        [
            AdapterEvaluated.model_validate_json(row.payload)
            for row in rows
            if row.type == "AdapterEvaluated"
        ],
        [
            CalibrationFitted.model_validate_json(row.payload)
            for row in rows
            if row.type == "CalibrationFitted"
        ],
    )


async def test_a_better_adapter_is_promoted_with_its_numbers(world: SimpleNamespace) -> None:
    job = await evaluate(world)
    (event,), calibrations = await published(world)
    assert (job.state, event.verdict, event.evaluation_id) == ("finished", "promote", job.job_id)
    assert {arm.arm: (arm.n, arm.accuracy) for arm in event.arms} == {
        "base": (60, 0.2),
        "challenger": (60, 0.9),
    }
    assert event.tests[0].wins == 42 and event.tests[0].losses == 0
    base, adapter, behind = calibrations
    assert [found.adapter_id for found in calibrations] == [None, world.adapter.adapter_id, None]
    assert (base.behind, adapter.behind, behind.behind) == (None, None, adapter.calibration_id)
    assert event.attempt == 1 and event.tests[0].alpha == level([])
    assert {group.name for group in event.groups} == set(factories.spec().labels)
    assert world.engine.loaded == []  # and unloaded again


async def test_every_arm_answers_the_same_rows_and_the_champion_is_one_of_them(
    world: SimpleNamespace,
) -> None:
    champion = store_adapter(world.blobs, world.path / "champion", b"older weights")
    world.engine.right[champion.adapter_id] = 9
    await announce(world, version=2, champion=champion)
    await evaluate(world)
    (event,), calibrations = await published(world)
    assert [(test.against, test.passed) for test in event.tests] == [
        ("base", True),
        ("champion", False),
    ]
    assert event.verdict == "reject" and len(calibrations) == 5
    assert world.reports.contents[0]["rows"][0]["answers"].keys() == {
        "base",
        "champion",
        "challenger",
    }


async def test_each_attempt_has_a_level_of_its_own_and_untested_ones_spend_none(
    world: SimpleNamespace,
) -> None:
    champion = store_adapter(world.blobs, world.path / "champion", b"older weights")
    world.engine.right[champion.adapter_id] = 9
    await announce(world, version=2, champion=champion)
    few = store_dataset(world.blobs, world.path / "few", ROWS, audit=44)
    for number, dataset in enumerate((world.dataset, few, world.dataset)):
        await evaluate(world, dataset=dataset, job_id=f"job-{number}")
    events, _ = await published(world)
    assert [event.attempt for event in events] == [1, None, 2]
    assert [event.tests[0].alpha for event in events if event.tests] == [level([]), level([False])]
    assert "44 audited rows" in events[1].reasons[0]


async def test_what_was_rejected_is_wrong_whatever_an_arm_says(world: SimpleNamespace) -> None:
    dataset = store_dataset(world.blobs, world.path / "fits", ROWS, rejected=6)
    await evaluate(world, dataset=dataset)
    (event,), calibrations = await published(world)
    assert event.arms[1].accuracy == pytest.approx((54 - 6) / 60)
    assert calibrations[1].errors == 12


async def test_the_probe_tells_the_adapter_from_the_base_model(world: SimpleNamespace) -> None:
    await evaluate(world)
    (event,), _ = await published(world)
    assert event.probe.answer in factories.spec().labels
    assert (
        event.probe.base_answer != event.probe.answer
        and event.probe.logprob > event.probe.base_logprob
    )
    assert all(message.role != "system" for message in event.probe.messages)


async def test_while_the_engine_is_away_the_job_waits_and_says_so(world: SimpleNamespace) -> None:
    world.engine.away = True
    job = await evaluate(world)
    assert (
        job.state == "queued"
        and "the evaluation vLLM at http://127.0.0.1:9/v1 does not answer" in job.error
    )
    assert await published(world) == ([], [])


async def test_an_interrupted_evaluation_asks_only_what_was_not_answered(
    world: SimpleNamespace,
) -> None:
    world.engine.breaks_after = 100
    assert (await evaluate(world)).state == "queued"
    transcript = next((world.path / "transcripts").iterdir())
    transcript.write_text(transcript.read_text()[:-20])  # a crash in the middle of a line
    world.engine.breaks_after = None
    world.engine.asked = 0
    async with world.db.transaction() as tx:
        await tx.execute(world.jobs.table.update().values(lease_until=0.0))
    await run_leased(world.jobs, await world.jobs.claim(JOB), world.evaluation.run)
    (event,), _ = await published(world)
    # 60 left of 160, the spoiled one, and the probe
    assert event.verdict == "promote" and 61 <= world.engine.asked <= 75
    assert not transcript.exists()


async def test_before_its_route_is_known_the_job_waits(world: SimpleNamespace) -> None:
    job = await evaluate(world, tenant="acme", route="acme/later")
    assert job.state == "queued" and "acme/later" in job.error


async def test_an_adapter_the_engine_refuses_is_rejected_in_words(world: SimpleNamespace) -> None:
    world.engine.unfit = "LoRA rank 64 is greater than max_lora_rank 16"
    await evaluate(world)
    (event,), _ = await published(world)
    assert event.verdict == "reject" and "max_lora_rank 16" in event.reasons[0] and event.arms == ()


async def test_an_adapter_that_hangs_is_rejected_while_the_base_model_answers(
    world: SimpleNamespace,
) -> None:
    world.engine.silent = {world.adapter.adapter_id: 1}
    assert (await evaluate(world)).state == "finished"
    (event,), _ = await published(world)
    assert event.verdict == "reject" and event.arms == ()
    assert "no answer to 3 questions in a row" in event.reasons[0]
    assert world.engine.loaded == []


async def test_an_engine_that_hangs_for_all_is_waited_for(world: SimpleNamespace) -> None:
    world.engine.silent = {world.adapter.adapter_id: 1, "base": 1}
    assert (await evaluate(world)).state == "queued"
    assert await published(world) == ([], [])


async def test_a_question_that_the_adapter_alone_does_not_answer_is_wrong(
    world: SimpleNamespace,
) -> None:
    world.engine.silent = {world.adapter.adapter_id: 7}
    await evaluate(world)
    (event,), _ = await published(world)
    base, challenger = event.arms
    assert challenger.format_compliance < 0.95 and base.format_compliance == 0.2


async def test_an_adapter_folder_with_a_pickle_never_reaches_the_engine(
    world: SimpleNamespace,
) -> None:
    folder = world.path / "bad"
    folder.mkdir()
    (folder / "training_args.bin").write_bytes(b"cos\nsystem")
    await evaluate(world, adapter=store_adapter_from(world, folder))
    (event,), _ = await published(world)
    assert (
        event.verdict == "reject"
        and "training_args.bin" in event.reasons[0]
        and world.engine.asked == 0
    )


def store_adapter_from(world: SimpleNamespace, folder: Path):
    ref = world.blobs.put_folder(folder, "adapters")
    return world.adapter.model_copy(
        update={"adapter_id": f"acme--support-triage@{ref.sha256[:12]}", "blob": ref}
    )


async def test_without_held_out_rows_nothing_is_promoted(world: SimpleNamespace) -> None:
    await evaluate(world, dataset=store_dataset(world.blobs, world.path / "empty", []))
    (event,), calibrations = await published(world)
    assert event.verdict == "reject" and "0 audited rows" in event.reasons[0]
    assert event.attempt is None
    assert all(found.threshold == 1.0 for found in calibrations)


async def test_a_worker_that_lost_its_lease_publishes_nothing(world: SimpleNamespace) -> None:
    """Paused past its lease, it finds another worker's token on the job."""
    async with world.db.transaction() as tx:
        await handlers(world).on_adapter_trained(
            tx, factories.trained(adapter=world.adapter, dataset=world.dataset)
        )
    stale = await world.jobs.claim(JOB)
    async with world.db.transaction() as tx:
        await tx.execute(world.jobs.table.update().values(lease_until=0.0))
    current = await world.jobs.claim(JOB)
    await run_leased(world.jobs, current, world.evaluation.run)
    with pytest.raises(Exception, match="taken over by another worker"):
        await world.evaluation.run(stale)
    assert len((await published(world))[0]) == 1


async def test_a_worker_that_lost_its_lease_writes_into_no_transcript_but_its_own_and_leaves_none(
    world: SimpleNamespace,
) -> None:
    """It wakes up when its successor is done: what it still hears from the engine must not stay on
    the disk.
    """
    async with world.db.transaction() as tx:
        await handlers(world).on_adapter_trained(
            tx, factories.trained(adapter=world.adapter, dataset=world.dataset)
        )
    stale = await world.jobs.claim(JOB)
    async with world.db.transaction() as tx:
        await tx.execute(world.jobs.table.update().values(lease_until=0.0))
    current = await world.jobs.claim(JOB)
    reply = await world.engine.ask("base", [Message(role="user", content=ROWS[0][0])], 8)
    world.transcripts.add(stale.run_name, stale.token, "base", "audit-0", reply)
    # what is known need not be asked again
    assert ("base", "audit-0") in world.transcripts.read(current.run_name)
    await run_leased(world.jobs, current, world.evaluation.run)
    world.transcripts.add(stale.run_name, stale.token, "base", "audit-1", reply)
    await world.evaluation.tidy()
    assert not list((world.path / "transcripts").iterdir())


async def test_the_transcript_of_a_job_that_is_not_over_is_kept(world: SimpleNamespace) -> None:
    world.engine.breaks_after = 10
    assert (await evaluate(world)).state == "queued"
    await world.evaluation.tidy()
    [job] = await world.jobs.all()
    assert world.transcripts.names() == {job.run_name}
    async with world.db.transaction() as tx:
        await world.jobs.cancel(tx, job.job_id, "by ada")
    await world.evaluation.tidy()
    assert world.transcripts.names() == set()


async def test_an_event_delivered_twice_makes_one_job(world: SimpleNamespace) -> None:
    event = factories.trained(adapter=world.adapter, dataset=world.dataset)
    for _ in range(2):
        async with world.db.transaction() as tx:
            await handlers(world).on_adapter_trained(tx, event)
    async with world.db.read() as connection:
        assert (
            await connection.execute(select(func.count()).select_from(world.jobs.table))
        ).scalar_one() == 1
