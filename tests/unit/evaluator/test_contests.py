"""Adapters for free text before people: who is asked what, how it ends, once, and that nothing else
is held up by it.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from schemas.comparisons import AnswersCompared, ComparisonRequested, Judgement
from schemas.events import AdapterEvaluated
from services.evaluator.app import build
from services.evaluator.comparisons import Tally, pairing
from services.evaluator.contest import Contest
from services.evaluator.contests import CONCLUDE, JOB
from services.evaluator.judging import Judging
from services.evaluator.ports import JudgeAway
from services.evaluator.settings import Settings
from services.evaluator.spending import level
from services.evaluator.store.contests import Waiting
from shared import failpoints
from shared.jobs.worker import Job, run_leased, work_once
from tests import factories
from tests.unit.evaluator.test_evaluation import ROWS, announce, evaluate, published, world
from tests.unit.evaluator.worlds import store_adapter, store_dataset

__all__ = ["world"]

FREE = factories.spec(task="summarisation", labels=(), minimum_per_label=None)


@pytest.fixture
async def free(world: SimpleNamespace) -> SimpleNamespace:
    """A route of free text. The base model and the adapter answer 12 of 60 questions alike."""
    await announce(world, version=2, spec=FREE)
    return world


async def events(world: SimpleNamespace, name: str, kind: type) -> list:
    table = world.outbox.table
    async with world.db.read() as connection:
        wanted = select(table.c.payload).where(table.c.type == name).order_by(table.c.seq)
        rows = (await connection.execute(wanted)).scalars().all()
    return [kind.model_validate_json(row) for row in rows]


async def asked(world: SimpleNamespace) -> list[ComparisonRequested]:
    return await events(world, "ComparisonRequested", ComparisonRequested)


async def verdicts(world: SimpleNamespace) -> list[AdapterEvaluated]:
    return (await published(world))[0]


async def side(world: SimpleNamespace, about: ComparisonRequested) -> Judgement:
    async with world.db.read() as connection:
        pairs = await world.contests.comparisons.asked(connection, about.evaluation_id)
    return next(pair.challenger for pair in pairs if pair.comparison_id == about.comparison_id)


async def judge(
    world: SimpleNamespace,
    about: ComparisonRequested,
    *,
    wins: bool,
    by: str = "ada",
) -> None:
    ours = await side(world, about)
    other: Judgement = "right" if ours == "left" else "left"
    names = {"comparison_id": about.comparison_id, "evaluation_id": about.evaluation_id}
    event = AnswersCompared(
        **factories.COMMON, **names, judgement=ours if wins else other, judge="person", by=by
    )
    async with world.db.transaction() as tx:
        await world.contests.comparisons.on_answers_compared(tx, event)


async def go_on(world: SimpleNamespace) -> None:
    """Look once, and do what there is to do."""
    await world.contests.look()
    while job := await world.jobs.claim(CONCLUDE):
        await run_leased(world.jobs, job, world.contests.run)


async def ask(world: SimpleNamespace, **changes: object) -> Job:
    return await evaluate(world, spec=FREE, **changes)


async def test_people_are_asked_and_no_level_is_told_until_they_say(free: SimpleNamespace) -> None:
    job = await ask(free)
    pairs = await asked(free)
    assert job.state == "finished" and len(pairs) == 48 and await verdicts(free) == []
    assert {pair.evaluation_id for pair in pairs} == {job.job_id}
    assert all(pair.left != pair.right for pair in pairs)
    async with free.db.read() as connection:
        [shown] = await free.contests.open_ones(connection, "acme")
        assert await free.contests.open_ones(connection, "globex") == []
    assert (shown["judged"], shown["pairs"], shown["against"]) == (12, 60, "base")
    await go_on(free)
    assert await verdicts(free) == []


async def test_an_adapter_that_people_find_better_is_promoted_once(free: SimpleNamespace) -> None:
    job = await ask(free)
    for pair in (await asked(free))[:9]:
        await judge(free, pair, wins=True)
    for _ in range(2):
        await go_on(free)
    [event] = await verdicts(free)
    assert (event.verdict, event.evaluation_id, event.attempt) == ("promote", job.job_id, 1)
    [test] = event.tests
    assert (test.against, test.wins, test.losses, test.ties, test.neither) == ("base", 9, 0, 12, 0)
    assert test.passed and test.p_value <= test.alpha == level([])
    assert "of 21 of 60 pairs 9 won" in event.reasons[1]
    assert event.probe and event.probe.answer != event.probe.base_answer
    _, calibrations = await published(free)
    assert calibrations == []
    challenger = event.arms[-1]
    assert (challenger.accuracy, challenger.macro_f1, challenger.chrf) == (
        0.0,
        pytest.approx(0.9),
        pytest.approx(0.9, abs=0.05),
    )
    rows = free.reports.contents[-1]["rows"]
    assert [row["people"] for row in rows].count("better") == 9


async def test_what_is_said_after_the_end_changes_nothing(free: SimpleNamespace) -> None:
    await ask(free)
    pairs = await asked(free)
    for pair in pairs[:9]:
        await judge(free, pair, wins=True)
    await free.contests.look()
    for pair in pairs[9:]:
        await judge(free, pair, wins=False)
    await go_on(free)
    [event] = await verdicts(free)
    assert (event.verdict, event.tests[0].losses) == ("promote", 0)


@pytest.mark.parametrize(("share", "verdict"), [(0.0, "reject"), (0.5, "reject"), (0.9, "promote")])
async def test_people_decide(free: SimpleNamespace, share: float, verdict: str) -> None:
    rng = random.Random(5)
    await ask(free)
    for pair in await asked(free):
        await judge(free, pair, wins=rng.random() < share)
        await go_on(free)
    [event] = await verdicts(free)
    assert event.verdict == verdict


async def test_a_champion_is_what_an_adapter_is_compared_with(free: SimpleNamespace) -> None:
    champion = store_adapter(free.blobs, free.path / "champion", b"older weights")
    free.engine.right[champion.adapter_id] = 5
    await announce(free, version=3, champion=champion, spec=FREE)
    await ask(free)
    for pair in (await asked(free))[:12]:
        await judge(free, pair, wins=True)
    await go_on(free)
    [event] = await verdicts(free)
    assert [test.against for test in event.tests] == ["champion"]
    assert {arm.arm: arm.adapter_id for arm in event.arms}["champion"] == champion.adapter_id


async def test_too_few_rows_ask_nobody_and_spend_no_level(free: SimpleNamespace) -> None:
    few = store_dataset(free.blobs, free.path / "few", ROWS, audit=44)
    await ask(free, dataset=few)
    [event] = await verdicts(free)
    assert (event.verdict, event.attempt, await asked(free)) == ("reject", None, [])
    assert "44 audited rows" in event.reasons[0]


async def test_what_breaks_the_form_has_lost_and_is_refused(free: SimpleNamespace) -> None:
    answer = free.engine.ask

    async def silent(model: str, *question: object) -> object:
        reply = await answer(model, *question)
        is_mine = model == free.adapter.adapter_id
        return replace(reply, finish_reason="length") if is_mine else reply

    free.engine.ask = silent
    await ask(free)
    [event] = await verdicts(free)
    assert (event.verdict, event.attempt, await asked(free)) == ("reject", None, [])
    assert "format broken more often than by base" in " ".join(event.reasons)


async def test_answers_that_are_equal_ask_nobody(free: SimpleNamespace) -> None:
    free.engine.right[free.adapter.adapter_id] = free.engine.right["base"] = 10
    await ask(free)
    [event] = await verdicts(free)
    assert (event.verdict, event.attempt, await asked(free)) == ("reject", None, [])
    assert event.tests[0].ties == 60


async def test_of_those_that_wait_the_newest_is_asked_about_next(free: SimpleNamespace) -> None:
    start = datetime(2026, 11, 27, tzinfo=UTC)
    first = await ask(free, occurred_at=start)
    later = [
        store_adapter(free.blobs, free.path / f"later-{n}", f"weights {n}".encode())
        for n in range(2)
    ]
    for n, adapter in enumerate(reversed(later)):
        free.engine.right[adapter.adapter_id] = 9
        minute = timedelta(minutes=2 - n)
        await ask(free, adapter=adapter, job_id=f"job-{n}", occurred_at=start + minute)
    # The older one came last and has its answer.
    [event] = await verdicts(free)
    assert event.adapter == later[0] and "a newer adapter was trained" in event.reasons[0]
    assert {pair.evaluation_id for pair in await asked(free)} == {first.job_id}
    async with free.db.read() as connection:
        [shown] = await free.contests.open_ones(connection, "acme")
    assert shown["waits"] == later[1].adapter_id
    for pair in await asked(free):
        await judge(free, pair, wins=False)
    await go_on(free)
    await go_on(free)
    await run_leased(free.jobs, await free.jobs.claim(JOB), free.evaluation.run)
    async with free.db.read() as connection:
        [contest] = await free.contests.store.all(connection)
    assert contest.trained.adapter == later[1] and contest.alpha == level([False])
    assert await free.jobs.claim(JOB) is None


async def test_an_adapter_whose_contest_just_ended_waits_for_nobody(free: SimpleNamespace) -> None:
    """Between the look at what is open and the note that somebody waits, it may end."""
    event = factories.trained(adapter=free.adapter, dataset=free.dataset, spec=FREE)
    async with free.db.transaction() as tx:
        await free.contests.store.wait(tx, Waiting(evaluation_id="gone", trained=event))
    await go_on(free)
    await run_leased(free.jobs, await free.jobs.claim(JOB), free.evaluation.run)
    assert len(await asked(free)) == 48


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"champion": factories.adapter("ffffffffffff")}, "what serves the route changed"),
        ({"spec": FREE.model_copy(update={"system_prompt": "Be brief."})}, "the route changed"),
        ({"spec": factories.spec()}, "the route changed"),
    ],
)
async def test_a_contest_about_nothing_any_more_ends(
    free: SimpleNamespace, changes: dict, why: str
) -> None:
    await ask(free)
    await announce(free, version=3, **{"spec": FREE} | changes)
    await go_on(free)
    [event] = await verdicts(free)
    assert event.verdict == "reject" and why in event.reasons[0] and event.attempt == 1


async def test_what_nobody_judges_ends_after_some_time(free: SimpleNamespace) -> None:
    await ask(free)
    await judge(free, (await asked(free))[0], wins=True)
    object.__setattr__(free.contests, "days", 0.0)
    await go_on(free)
    [event] = await verdicts(free)
    assert "EVALUATOR_CONTEST_DAYS" in event.reasons[0] and event.tests[0].wins == 1


async def test_an_open_contest_has_its_level_also_where_the_route_became_another(
    free: SimpleNamespace,
) -> None:
    await ask(free)
    await announce(free, version=3)
    later = store_adapter(free.blobs, free.path / "later", b"later weights")
    free.engine.right[later.adapter_id] = 9
    await evaluate(free, adapter=later, job_id="job-2")
    [event] = await verdicts(free)
    assert (event.attempt, event.tests[0].alpha) == (2, level([False]))


async def test_what_people_judge_is_what_would_serve_now(free: SimpleNamespace) -> None:
    """The prompt changed while the adapter was trained."""
    now = FREE.model_copy(update={"system_prompt": "Be brief."})
    await announce(free, version=3, spec=now)
    await ask(free)
    await go_on(free)
    async with free.db.read() as connection:
        [contest] = await free.contests.store.all(connection)
    assert contest.trained.spec == now


async def test_an_adapter_for_what_is_no_free_text_any_more_is_refused(
    free: SimpleNamespace,
) -> None:
    await announce(free, version=3)
    await ask(free)
    [event] = await verdicts(free)
    assert "for free text no more" in event.reasons[0] and event.attempt is None


@pytest.mark.parametrize("point", ["job.before-finish", "job.after-finish"])
async def test_who_is_killed_at_the_end_of_a_contest_loses_and_doubles_nothing(
    tmp_path: Path, keys: dict[str, str], point: str
) -> None:
    settings = {
        "database_url": f"sqlite+aiosqlite:///{tmp_path}/evaluator.db",
        "artifacts_url": f"file://{tmp_path}/artifacts",
        "keys_file": keys["file"],
        "cache_dir": str(tmp_path / "cache"),
    }
    service = build(Settings(**settings))
    await service.db.create_tables(service.metadata)
    parts = SimpleNamespace(db=service.db, contests=service.parts.contests, jobs=service.parts.jobs)
    pairs = [pairing("e1", f"row-{n}", "base") for n in range(60)]
    trained = factories.trained(spec=FREE)
    contest = Contest(
        evaluation_id="e1",
        against="base",
        pairs=60,
        settled=Tally(),
        alpha=level([]),
        trained=trained,
        draft=factories.evaluated(evaluation_id="e1", adapter=trained.adapter, attempt=1),
        content=service.parts.blobs.put_bytes(b'{"rows": []}', "contests", ".json"),
        opened_at=time.time(),
    )
    async with service.db.transaction() as tx:
        await parts.contests.routes.on_route_changed(tx, factories.route_changed(spec=FREE))
        await parts.contests.store.open(tx, contest)
        for pair in pairs:
            await parts.contests.comparisons.ask(tx, pair)
    for pair in pairs[:9]:
        names = {"comparison_id": pair.comparison_id, "evaluation_id": "e1"}
        await judge(parts, factories.comparison_requested(**names), wins=True)
    await parts.contests.look()
    child = get_context("spawn").Process(target=conclude_and_die, args=(settings, point))
    child.start()
    await asyncio.to_thread(child.join, 60)
    assert child.exitcode == -signal.SIGKILL
    async with service.db.transaction() as tx:
        await tx.execute(parts.jobs.table.update().values(lease_until=0.0))
    await go_on(parts)
    [event] = await events(
        SimpleNamespace(db=service.db, outbox=service.outbox), "AdapterEvaluated", AdapterEvaluated
    )
    assert (event.verdict, event.tests[0].wins) == ("promote", 9)
    async with service.db.read() as connection:
        assert await parts.contests.store.all(connection) == []
        assert await service.parts.evaluations.attempts(connection, factories.ROUTE) == [True]
    await service.db.close()


def conclude_and_die(settings: dict[str, str], point: str) -> None:
    service = build(Settings(**settings))
    failpoints.arm(point, "kill")
    parts = service.parts
    asyncio.run(work_once(parts.jobs, CONCLUDE, parts.contests.run))


async def test_the_end_of_a_contest_survives_its_worker(free: SimpleNamespace) -> None:
    await ask(free)
    for pair in (await asked(free))[:9]:
        await judge(free, pair, wins=True)
    await free.contests.look()
    stale = await free.jobs.claim(CONCLUDE)
    async with free.db.transaction() as tx:
        await tx.execute(free.jobs.table.update().values(lease_until=0.0))
    current = await free.jobs.claim(CONCLUDE)
    await run_leased(free.jobs, current, free.contests.run)
    with pytest.raises(Exception, match="taken over by another worker"):
        await free.contests.run(stale)
    await go_on(free)
    assert len(await verdicts(free)) == 1


async def test_a_report_whose_content_is_gone_holds_up_no_verdict(free: SimpleNamespace) -> None:
    await ask(free)
    for path in (free.path / "artifacts" / "contests").iterdir():
        path.unlink()
    for pair in (await asked(free))[:9]:
        await judge(free, pair, wins=True)
    await go_on(free)
    [event] = await verdicts(free)
    assert (event.verdict, event.report) == ("promote", None)


class Model:
    """A judge model that says who is better, whichever side that is on."""

    name = "judge-8b"

    def __init__(self, likes: str) -> None:
        self.likes = likes
        self.asked = 0

    async def say(self, messages: tuple, _: int) -> str:
        self.asked += 1
        if self.likes == "away":
            raise JudgeAway("http://127.0.0.1:9/v1", "ConnectError")
        a = messages[1].content.split("Answer A:\n")[1].split("\n\nAnswer B:")[0]
        # The base model says that it has no idea.
        return "A" if (a == "no idea") == (self.likes == "base") else "B"


async def with_judge(free: SimpleNamespace, likes: str) -> Model:
    model = Model(likes)
    object.__setattr__(free.contests, "judging", Judging(model, concurrency=4))
    await ask(free)
    for event in await events(free, "AnswersCompared", AnswersCompared):
        async with free.db.transaction() as tx:
            await free.contests.comparisons.on_answers_compared(tx, event)
    return model


async def test_a_judge_model_is_asked_in_both_orders_and_promotes_nothing(
    free: SimpleNamespace,
) -> None:
    model = await with_judge(free, "adapter")
    said = await events(free, "AnswersCompared", AnswersCompared)
    assert (model.asked, len(said)) == (96, 48)
    assert {(event.judge, event.by) for event in said} == {("model", "judge-8b")}
    await go_on(free)
    assert await verdicts(free) == []


async def test_without_a_judge_model_that_is_away_people_are_asked(free: SimpleNamespace) -> None:
    await with_judge(free, "away")
    assert len(await asked(free)) == 48
    assert await events(free, "AnswersCompared", AnswersCompared) == []
