"""The demo after a refusal by the gate: corrections go on, and the next adapter is tried, a few
times.
"""

from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console

from infra.data.reading import Sample
from infra.demo.patience import GaveUp
from infra.demo.plan import Plan
from infra.demo.record import BASE, FIRST, LABELS_ADDED, NEW_REQUESTS, SECOND, Record
from infra.demo.reviewers import Reviewers
from infra.demo.story import Story, StoryStopped
from infra.demo.view import View
from schemas.route import RouteSpec

ROUTE = "acme/support-triage"
RIGHT = '{"city": "Riga", "n": 2}'


class Platform:
    """A system whose gate gives the `verdicts`; it builds a dataset on command, or at once when its
    rule is met.
    """

    def __init__(self, verdicts: list[str], rule_met: bool = False) -> None:
        self.verdicts = verdicts
        self.rule_met = rule_met
        self.ordered = 0
        self.built = [self._dataset(0)]

    def _dataset(self, number: int) -> dict[str, Any]:
        return {"dataset_id": f"dataset-{number}", "rows": 100}

    async def datasets(self, _: str) -> list[dict[str, Any]]:
        return self.built[::-1]

    async def order_dataset(self, _name: str, _reason: str) -> None:
        self.ordered += 1
        self.built.append(self._dataset(len(self.built)))

    async def readiness(self, _: str) -> dict[str, Any]:
        return {}

    async def training_jobs(self) -> list[dict[str, Any]]:
        return [
            {"dataset_id": dataset["dataset_id"], "state": "finished", "progress": {}, "attempt": 1}
            for dataset in self.built
        ]

    async def evaluations(self, _: str) -> list[dict[str, Any]]:
        return [
            {
                "dataset_id": f"dataset-{number}",
                "verdict": verdict,
                "reasons": ["p = 0.2"],
                "adapter": {"adapter_id": f"adapter-{number}"},
                "arms": [{"arm": "base", "accuracy": 0.2, "n": 60}],
            }
            for number, verdict in enumerate(self.verdicts)
        ]

    async def champion(self, _: str) -> str:
        return f"adapter-{self.verdicts.index('promote')}"


class App:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    async def send(self, _phase: str, samples: list[Sample], _advance: Any) -> list[Any]:
        if self.platform.rule_met:
            await self.platform.order_dataset("", "")
            self.platform.ordered -= 1
        return [SimpleNamespace(correct=True) for _ in samples]


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("infra.demo.story.QUIET_SECONDS", -1)

    def told(platform: Platform, left: int = 1000) -> Story:
        data = SimpleNamespace(
            spec=SimpleNamespace(name=ROUTE),
            plan=Plan(),
            left=left,
            take=lambda n, _share=0.0: [Sample("text", "label")] * n,
            take_or_repeat=lambda n, _share=0.0: [Sample("text", "label")] * n,
        )
        reviewers = SimpleNamespace(done=0, idle_seconds=lambda: 0.0)
        view = View(Console(file=io.StringIO()))
        return Story(App(platform), data, platform, reviewers, view, Record(0.0, max_risk=0.1))

    return told


@pytest.mark.parametrize(("rule_met", "ordered"), [(False, 1), (True, 0)])
async def test_after_a_refusal_corrections_go_on_and_the_next_adapter_is_tried(
    story: Any, rule_met: bool, ordered: int
) -> None:
    platform = Platform(["reject", "promote"], rule_met)
    told = story(platform)
    await told._promotion(number=2, late_share=0.6)
    assert platform.ordered == ordered and [phase.name for phase in told.record.phases] == [
        "more corrections"
    ]
    assert [step.name for step in told.record.steps if "training" in step.name] == [
        "version 2: training",
        "version 2, try 2: training",
    ]
    assert [one.text for one in told.record.happened if one.kind == "promotion"] == [
        "version 2 serves"
    ]


async def test_an_adapter_that_is_promoted_at_once_needs_no_more_corrections(story: Any) -> None:
    told = story(Platform(["promote"]))
    await told._promotion(number=1, late_share=0.0)
    assert not told.record.phases and told.followed == 1


async def test_the_demo_ends_when_three_adapters_were_refused(story: Any) -> None:
    platform = Platform(["reject", "reject", "reject"])
    with pytest.raises(StoryStopped, match=r"refused 3 adapters.*p = 0\.2"):
        await story(platform)._promotion(number=2, late_share=0.6)
    assert platform.ordered == 2


async def test_messages_that_measure_a_version_are_not_spent_on_corrections(story: Any) -> None:
    platform = Platform(["reject", "promote"])
    told = story(platform, left=Plan().after + 19)
    with pytest.raises(StoryStopped, match=r"refused \(p = 0\.2\).*109 messages.*add rows"):
        await told._promotion(number=1, late_share=0.0)
    assert platform.ordered == 0
    told = story(Platform(["reject", "promote"]), left=Plan().after + 30)
    await told._promotion(number=1, late_share=0.0)
    assert [len(phase.answered) for phase in told.record.phases] == [30]


@pytest.mark.parametrize("why", [None, "of 2 labels none can come later"])
async def test_act_2_is_told_only_where_it_is_planned(story: Any, why: str | None) -> None:
    told = story(Platform(["promote"]))
    told.data.plan = Plan(without_act_two=why)
    acts = []

    async def act(number: int) -> None:
        acts.append(number)

    told.act_one = lambda: act(1)
    told.act_two = lambda: act(2)
    await told.tell()
    assert acts == ([1] if why else [1, 2])


async def test_drift_that_is_not_seen_yet_gets_more_of_the_same_requests(
    story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.demo.story.DRIFT_SECONDS", 0)
    told = story(Platform([]))
    asked: list[str] = []
    for way in ("take", "repeat"):
        setattr(told.data, way, lambda n, _, way=way: [way] * n)

    async def traffic(_phase: str, samples: list[Any]) -> None:
        asked.append(samples[0])

    told._traffic = traffic
    fired = {"monitor": "errors", "statistics": [{"name": "errors", "p_value": 0, "fired": True}]}

    async def alarm(seconds: float) -> dict[str, Any] | None:
        return fired if len(asked) >= 9 else None

    told._alarm = alarm
    await told._drift()
    assert asked == ["take"] * 6 + ["repeat"] * 3
    told._alarm = lambda seconds: asyncio.sleep(0)
    asked.clear()
    with pytest.raises(GaveUp, match="drift did not happen"):
        await told._drift()
    assert len(asked) == 14


def test_an_act_that_was_not_told_has_no_result() -> None:
    record = Record(0.0, max_risk=0.1)
    right, wrong = (
        SimpleNamespace(correct=c, late=False, certified=False, outcome="confident")
        for c in (True, False)
    )
    record.keep(BASE, [wrong] * 9 + [right], 0)
    record.keep(FIRST, [right] * 9 + [wrong], 0)
    assert [(each.act, each.passed) for each in record.results()] == [
        ("act 1", True),
        ("certificates", True),
    ]
    for phase in (NEW_REQUESTS, LABELS_ADDED, SECOND):
        record.keep(phase, [SimpleNamespace(correct=phase == SECOND, late=True)], 0)
    assert [each.act for each in record.results()] == ["act 1", "certificates", "act 2"]


EXTRACTION = RouteSpec(
    name=ROUTE,
    task="extraction",
    output_schema={"type": "object"},
    system_prompt="s",
    detailed_prompt="d",
)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ('{"city": "Riga", "n": 2}', {"verdict": "approved"}),
        ('{"n": 2, "city": "Riga"}', {"verdict": "approved"}),
        ('{"city": "Riga", "n": 3}', {"verdict": "corrected", "answer": RIGHT}),
        ("sorry", {"verdict": "corrected", "answer": RIGHT}),
    ],
)
async def test_reviewers_of_an_extraction_correct_what_differs_and_reject_nothing(
    answer: str, verdict: dict[str, str]
) -> None:
    reviewers = Reviewers("http://review", {}, EXTRACTION, {"order": RIGHT}, 0.0, 7)
    sent: list[Any] = []

    def served(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        item = {
            "item_id": "i",
            "messages": [{"role": "user", "content": "order"}],
            "answer": answer,
            "labels": [],
        }
        return httpx.Response(200, json=item)

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(served), base_url="http://review"
    ) as client:
        assert await reviewers._one(client)
    assert sent[-1] == verdict and reviewers.rejected == 0


def test_a_reviewer_who_errs_on_an_extraction_says_what_is_right_elsewhere() -> None:
    truth = {"order": RIGHT, "another": '{"city": "Graz", "n": 1}'}
    reviewers = Reviewers("http://review", {}, EXTRACTION, truth, 1.0, 7)
    assert reviewers._opinion("order") == truth["another"]
    alone = Reviewers("http://review", {}, EXTRACTION, {"order": RIGHT}, 1.0, 7)
    assert alone._opinion("order") == RIGHT
