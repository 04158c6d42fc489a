"""From events to datasets, on SQLite and on Postgres: the rule, refusals, redelivery, crashes."""

import asyncio
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from schemas.events import ReviewCompleted
from schemas.route import RetrainRule
from services.dataset_builder.brakes import Brakes
from services.dataset_builder.ledger import BuildRunning
from services.dataset_builder.order import JOB
from services.dataset_builder.store.builds import BuildState
from services.dataset_builder.store.verdicts import microseconds
from services.evaluator.heldout import read_held_out
from shared.jobs.worker import MAX_ATTEMPTS, run_leased
from shared.storage.blobs import folder_digest
from tests import factories
from tests.unit.dataset_builder.rig import START, Rig, known_route, verdict, verdicts


@pytest.fixture
async def rig(database_url: str, tmp_path: Path):
    rig = await Rig(database_url, tmp_path).start()
    yield rig
    await rig.db.close()


async def test_enough_new_verdicts_become_a_dataset_and_its_event(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 5, audit=True), *verdicts(5, 34))
    assert await rig.work() is None
    await rig.hear(verdict(34))
    await rig.work()
    (event,) = await rig.announced()
    assert event.because == "30 new verdicts (the route asks for 30)"
    assert (event.recipe, event.parent, event.rows.audit) == ("tiny-cpu", None, 5)
    assert event.dataset_id == f"acme--support-triage@{event.blob.sha256[:12]}"
    folder = rig.blobs.get_folder(event.blob, rig.folder / "copy")
    assert folder_digest(folder) == event.blob.sha256
    assert sorted(p.name for p in folder.iterdir() if p.name != "_COMPLETE") == [
        "README.md",
        "audit.parquet",
        "lost.parquet",
        "manifest.json",
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]
    table = pq.read_table(folder / "train.parquet")
    assert table.column_names == [
        "row_id",
        "inference_id",
        "review_id",
        "reviewer",
        "reviewed_at",
        "label_source",
        "messages",
        "answer",
        "cluster",
        "verdicts",
        "stratum",
        "model_answer",
        "arm",
        "adapter_id",
        "probability",
        "coin",
        "reason",
        "slices",
    ]
    assert table.num_rows == event.rows.train == sum(event.labels.values())
    assert all(text.startswith('[{"role":"user"') for text in table["messages"].to_pylist())


async def test_a_row_keeps_the_slices_of_its_verdict(rig: Rig) -> None:
    german = {"channel": "app", "country": "DE"}
    await rig.hear(known_route(), *verdicts(30, 40, audit=True, slices=german))
    await rig.hear(*verdicts(40, 50, audit=True), *verdicts(0, 30, slices=german))
    await rig.work()
    (event,) = await rig.announced()
    folder = rig.blobs.get_folder(event.blob, rig.folder / "copy")
    told = pq.read_table(folder / "audit.parquet")["slices"].to_pylist()
    assert Counter(told) == {'{"channel": "app", "country": "DE"}': 10, None: 10}
    held_out = [row.slices for row in read_held_out(folder) if row.split == "audit"]
    assert [one for one in held_out if one] == [german] * 10


async def test_a_dataset_says_which_audited_verdicts_it_cannot_use(rig: Rig) -> None:
    """Their label is gone, or nobody trusts their reviewer: no certificate counts them."""
    await rig.hear(known_route(approved_reviewers=("ada",)))
    await rig.hear(*verdicts(30, 37, audit=True, answer="gone"))
    await rig.hear(*verdicts(40, 43, audit=True, reviewer="eve"), *verdicts(0, 30, reviewer="ada"))
    await rig.work()
    (event,) = await rig.announced()
    folder = rig.blobs.get_folder(event.blob, rig.folder / "copy")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["audit_dropped"] == {"reviewer_not_approved": 3, "unknown_label": 7}
    assert (
        "not evaluated on:\n  reviewer_not_approved 3, unknown_label 7."
        in (folder / "README.md").read_text()
    )


async def test_audit_and_rejected_verdicts_neither_count_nor_train(rig: Rig) -> None:
    await rig.hear(
        known_route(),
        *verdicts(0, 40, audit=True),
        *verdicts(40, 80, verdict="rejected", answer=None),
        *verdicts(80, 109),
    )
    assert await rig.work() is None
    await rig.hear(verdict(109))
    await rig.work()
    (event,) = await rig.announced()
    assert event.rows.audit == 40
    manifest = await rig.manifest(event.dataset_id)
    assert manifest["dropped"]["rejected"] == 40


async def test_users_corrections_are_kept_and_never_trained_on(rig: Rig) -> None:
    await rig.hear(
        known_route(),
        *verdicts(0, 30),
        *[factories.feedback(kind="correction", text="delivery") for _ in range(50)],
    )
    await rig.work()
    await rig.hear(*[factories.feedback(kind="correction", text="delivery") for _ in range(50)])
    assert await rig.work() is None
    (event,) = await rig.announced()
    assert sum(event.rows.model_dump().values()) <= 30


async def test_drift_lowers_the_threshold_for_verdicts_after_it_until_the_next_dataset(
    rig: Rig,
) -> None:
    drift = factories.drift(monitor="errors", occurred_at=START + timedelta(minutes=15, seconds=30))
    await rig.hear(known_route(), *verdicts(0, 16), drift, *verdicts(16, 25))
    assert await rig.work() is None
    await rig.hear(verdict(25))
    await rig.work()
    (event,) = await rig.announced()
    assert f"10 new verdicts after drift {drift.drift_id}" in event.because
    assert (await rig.state()).drift_id is None
    await rig.hear(*verdicts(26, 40))
    assert await rig.work() is None


async def test_a_drift_of_the_input_arms_once_labels_bear_it_out(rig: Rig) -> None:
    alarm = factories.drift(occurred_at=START + timedelta(minutes=9, seconds=30))
    await rig.hear(known_route(), *verdicts(0, 20), alarm)
    assert await rig.work() is None
    await rig.hear(factories.drift(monitor="errors", confirms=alarm.drift_id))
    assert await rig.work() is not None
    (event,) = await rig.announced()
    assert alarm.drift_id in event.because


async def test_an_owner_who_changes_the_labels_bears_a_drift_out(rig: Rig) -> None:
    alarm = factories.drift(occurred_at=START + timedelta(minutes=9, seconds=30))
    known = known_route()
    await rig.hear(known, *verdicts(0, 20), alarm)
    same = known.model_copy(update={"version": 2, "event_id": "route-changed-2"})
    await rig.hear(same)
    assert await rig.work() is None
    wider = known.spec.model_copy(update={"labels": (*known.spec.labels, "something new")})
    await rig.hear(
        same.model_copy(update={"version": 3, "event_id": "route-changed-3", "spec": wider})
    )
    assert await rig.work() is not None


async def test_a_brake_holds_a_dataset_back_says_so_once_and_lets_go_by_itself(rig: Rig) -> None:
    rule = RetrainRule(min_new_verdicts=30, cooldown_hours=1)
    await rig.hear(known_route(retrain=rule), *verdicts(0, 30))
    assert await rig.work() is not None
    await rig.hear(*verdicts(30, 65))
    assert await rig.work() is None
    (held,) = await rig.held()
    assert (held.brake, held.because[:15]) == ("cooldown", "30 new verdicts")
    assert 0 < (held.until - datetime.now(UTC)).total_seconds() <= 3600
    async with rig.db.read() as connection:
        shown = await rig.readings.of_route(connection, factories.ROUTE)
    assert shown["held"] == {"brake": "cooldown", "until": held.until.isoformat()}
    async with rig.db.transaction() as tx:
        await tx.execute(
            update(rig.tables.datasets).values(built_us=rig.tables.datasets.c.built_us - 4 * 10**9)
        )
    await Brakes(rig.db, rig.ledger).look()
    assert await rig.work() is not None
    assert (await rig.state()).held is None and len(await rig.held()) == 1


async def test_a_person_orders_a_dataset_in_spite_of_a_brake(rig: Rig) -> None:
    rule = RetrainRule(min_new_verdicts=30, most_a_week=1)
    await rig.hear(known_route(retrain=rule), *verdicts(0, 30))
    await rig.work()
    await rig.hear(*verdicts(30, 65))
    assert [held.brake for held in await rig.held()] == ["weekly-budget"]
    async with rig.db.transaction() as tx:
        await rig.ledger.command(tx, factories.ROUTE, "a person asked")
    assert await rig.work() is not None


async def test_verdicts_that_overtook_the_drift_event_count_for_it(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 20))
    assert await rig.work() is None
    at = START + timedelta(minutes=9, seconds=30)
    await rig.hear(factories.drift(monitor="errors", occurred_at=at))
    assert await rig.work() is not None


async def test_verdicts_that_came_before_their_route_wait_for_it(rig: Rig) -> None:
    await rig.hear(*verdicts(0, 30))
    assert await rig.work() is None
    await rig.hear(known_route())
    assert (await rig.work()).state == "running"
    assert len(await rig.announced()) == 1


async def test_versions_are_cumulative_and_know_their_parent(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 30))
    await rig.work()
    await rig.hear(*verdicts(30, 60))
    await rig.work()
    first, second = await rig.announced()
    assert second.parent == first.dataset_id
    assert sum(second.rows.model_dump().values()) == 60 > sum(first.rows.model_dump().values())


async def test_redelivery_and_replay_build_once_and_leave_the_same_state(rig: Rig) -> None:
    events = [known_route(), *verdicts(0, 30), factories.feedback(kind="comment", text="hm")]
    await rig.hear(*events)
    await rig.work()
    before = await rig.contents()
    await rig.hear(*events)
    await rig.hear_again(*events)
    assert await rig.work() is None
    assert len(await rig.announced()) == 1
    assert await rig.contents() == before


async def test_any_order_of_arrival_gives_the_same_dataset(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        rig = await Rig(f"sqlite+aiosqlite:///{tmp_path}/{name}.db", tmp_path / name).start()
        events = [*verdicts(0, 5, audit=True), *verdicts(5, 35)]
        random.Random(name).shuffle(events)
        await rig.hear(known_route(), *events)
        await rig.work()
        ids.append((await rig.announced())[0].dataset_id)
        await rig.db.close()
    assert ids[0] == ids[1]


async def test_refusal_is_kept_with_its_reason_and_not_repeated_at_every_verdict(rig: Rig) -> None:
    await rig.hear(known_route(minimum_per_label=6), *verdicts(0, 30))
    assert (await rig.work()) is not None
    assert await rig.announced() == []
    state = await rig.state()
    assert "label '" in state.refusal and state.wait >= 30
    tried = 0
    for number in range(30, 150):
        await rig.hear(verdict(number))
        if (await rig.state()).building:
            tried += 1
            await rig.work()
            if await rig.announced():
                break
    assert 1 <= tried <= 3
    (event,) = await rig.announced()
    assert (await rig.state()).refusal is None
    assert min(event.labels.values()) >= 1


async def test_a_route_with_lower_minimums_is_tried_at_once(rig: Rig) -> None:
    await rig.hear(known_route(minimum_per_label=6), *verdicts(0, 30))
    await rig.work()
    await rig.hear(known_route(minimum_per_label=1).model_copy(update={"version": 2}))
    await rig.work()
    assert len(await rig.announced()) == 1


async def test_a_command_builds_below_the_threshold_but_not_twice_at_once(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 25))
    async with rig.db.transaction() as tx:
        assert (
            await rig.ledger.command(tx, factories.ROUTE, "asked for by ada: before the audit") == 1
        )
    with pytest.raises(BuildRunning, match="build 1 of acme/support-triage is queued or running"):
        async with rig.db.transaction() as tx:
            await rig.ledger.command(tx, factories.ROUTE, "again")
    await rig.work()
    assert len(await rig.announced()) == 1


async def test_nothing_new_is_refused(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 30))
    await rig.work()
    async with rig.db.transaction() as tx:
        await rig.ledger.command(tx, factories.ROUTE, "again")
    await rig.work()
    (event,) = await rig.announced()
    assert f"give the same rows as {event.dataset_id}" in (await rig.state()).refusal


async def test_verdicts_that_come_while_a_build_runs_count_for_the_next(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 30))
    job = await rig.jobs.claim(JOB)
    await rig.hear(*verdicts(30, 60))
    await run_leased(rig.jobs, job, rig.builder.run)
    (event,) = await rig.announced()
    assert sum(event.rows.model_dump().values()) == 30
    await rig.work()
    assert len(await rig.announced()) == 2


async def test_killed_before_the_commit_nothing_is_referenced_and_the_retry_gives_the_same_bytes(
    rig: Rig, monkeypatch
) -> None:
    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    await rig.hear(known_route(), *verdicts(0, 30))
    job = await rig.jobs.claim(JOB)
    with monkeypatch.context() as patch:
        patch.setattr(rig.builder.outbox, "add", killed)
        with pytest.raises(asyncio.CancelledError):
            await rig.builder.run(job)
    orphans = list((rig.folder / "artifacts" / "datasets").iterdir())
    assert len(orphans) == 1
    assert await rig.announced() == []
    assert (await rig.state()).dataset_id is None
    await rig.hear(*verdicts(30, 35))  # a verdict that came meanwhile is not in this build
    await run_leased(rig.jobs, job, rig.builder.run)
    (event,) = await rig.announced()
    assert event.blob.sha256 == orphans[0].name


async def test_a_worker_that_lost_its_lease_announces_nothing(rig: Rig) -> None:
    await rig.hear(known_route(), *verdicts(0, 30))
    job = await rig.jobs.claim(JOB)
    async with rig.db.transaction() as tx:
        await tx.execute(rig.jobs.table.update().values(token=job.token + 1))
    with pytest.raises(Exception, match="taken over"):
        await rig.builder.run(job)
    assert await rig.announced() == []


async def test_a_build_that_cannot_be_done_frees_the_route(rig: Rig, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a row that Parquet does not like")

    await rig.hear(known_route(), *verdicts(0, 30))
    monkeypatch.setattr(rig.builder.blobs, "put_folder", broken)
    for _ in range(MAX_ATTEMPTS):
        await rig.work()
    state = await rig.state()
    assert "ValueError at services.dataset_builder" in state.refusal and state.building == 0
    monkeypatch.undo()
    async with rig.db.transaction() as tx:
        await rig.ledger.command(tx, factories.ROUTE, "it was repaired")
    await rig.work()
    assert len(await rig.announced()) == 1


async def test_a_verdict_that_is_taken_back_counts_no_more(rig: Rig) -> None:
    """Withdrawn by its reviewer, or superseded by a later verdict on the same item."""
    first, second, *others = verdicts(0, 28)
    await rig.hear(known_route(), first, second, *others)
    await rig.hear(
        withdrawal(first),
        withdrawal(second),
        second.model_copy(
            update={
                "event_id": "a-later-verdict",
                "review_id": f"{second.review_id}.2",
                "supersedes": second.review_id,
                "answer": "refund",
            }
        ),
        *verdicts(100, 103),
    )
    await rig.work()
    (event,) = await rig.announced()
    folder = rig.blobs.get_folder(event.blob, rig.folder / "copy")
    rows = [
        row
        for split in ("train", "validation", "test")
        for row in pq.read_table(folder / f"{split}.parquet").to_pylist()
    ]
    ids = {row["review_id"] for row in rows}
    assert not {first.review_id, second.review_id} & ids
    (later,) = [row for row in rows if row["review_id"] == f"{second.review_id}.2"]
    assert later["answer"] == "refund"


def withdrawal(event: ReviewCompleted) -> ReviewCompleted:
    return event.model_copy(update={"event_id": f"no-{event.review_id}", "withdrawn": True})


async def test_a_verdict_that_is_said_again_is_the_same_row_with_what_acted(rig: Rig) -> None:
    """A complaint came after the verdict: no second row, and nothing that asks for a build."""
    said = verdicts(0, 30, probability=0.1, coin=0.05)
    await rig.hear(known_route(), *said)
    await rig.work()
    (first,) = await rig.announced()
    before = await rig.state()
    await rig.hear(*map(with_complaint, said), *map(with_complaint, said))
    # A dead letter that is replayed: the older of the two comes last.
    await rig.hear_again(*said)
    assert await rig.state() == before and await rig.work() is None
    async with rig.db.read() as connection:
        found = await rig.ledger.verdicts.of_build(connection, factories.ROUTE, 1, 0)
        standing = await rig.ledger.verdicts.new(connection, BuildState(factories.ROUTE))
    assert [row.probability for row in found.rows] == [1.0] * 30
    assert {row.reviewed_us for row in found.rows} == {microseconds(v.occurred_at) for v in said}
    assert standing.in_all == 30 and len(await rig.announced()) == 1
    assert first.rows.audit == 0


async def test_said_again_it_stays_audited_or_withdrawn(rig: Rig) -> None:
    audited = verdict(0, audit=True, probability=0.1)
    gone = verdict(1, probability=0.1)
    await rig.hear(known_route(), audited, gone, withdrawal(gone))
    await rig.hear(with_complaint(audited), with_complaint(gone))
    # Heard in no order at all.
    strange = verdict(2, probability=0.1)
    await rig.hear(with_complaint(strange), strange)
    async with rig.db.read() as connection:
        rows = {row.review_id: row for row in await connection.execute(select(rig.tables.verdicts))}
    assert {row.probability for row in rows.values()} == {1.0} and len(rows) == 3
    assert rows[audited.review_id].audit and not rows[audited.review_id].trainable
    assert rows[gone.review_id].verdict == "withdrawn" and not rows[gone.review_id].trainable
    assert rows[strange.review_id].trainable


def with_complaint(event: ReviewCompleted) -> ReviewCompleted:
    return event.model_copy(update={"event_id": f"sure-{event.review_id}", "probability": 1.0})


async def test_free_text_builds_a_dataset_of_what_reviewers_approved(rig: Rig) -> None:
    route = known_route(task="conversation", labels=(), minimum_per_label=None, minimum_rows=20)
    await rig.hear(route, *verdicts(0, 40))
    await rig.work()
    [built] = await rig.announced()
    assert built.rows.train >= 20 and built.labels == {}


async def test_replicas_decide_one_build(rig: Rig) -> None:
    await rig.hear(known_route(after_drift=30), *verdicts(0, 25))
    await asyncio.gather(*(rig.hear(event) for event in verdicts(25, 40)))
    assert (await rig.state()).attempts == 1


def test_the_rule_of_the_route_is_what_counts() -> None:
    assert known_route(needed=5).spec.retrain == RetrainRule(
        min_new_verdicts=5, min_new_after_drift=10, recipe="tiny-cpu"
    )


async def test_a_second_look_at_a_verdict_is_no_verdict(rig: Rig) -> None:
    before = await rig.contents()
    await rig.hear(
        verdict(1, audit=True, second_of="r1"),
        verdict(2, second_of="r2"),
        verdict(2, second_of="r2", withdrawn=True),
    )
    assert await rig.contents() == before
