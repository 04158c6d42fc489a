"""The demo after a refusal by the gate: corrections go on, and the next adapter is tried, a few
times.
"""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from infra.demo.data import Sample
from infra.demo.record import Record
from infra.demo.story import Story, StoryStopped
from infra.demo.view import View

ROUTE = "acme/support-triage"


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

    def told(platform: Platform) -> Story:
        data = SimpleNamespace(
            spec=SimpleNamespace(name=ROUTE),
            take=lambda n, _share=0.0: [Sample("text", "label")] * n,
        )
        reviewers = SimpleNamespace(done=0, idle_seconds=lambda: 0.0)
        view = View(Console(file=io.StringIO()))
        return Story(App(platform), data, platform, reviewers, view, Record(started=0.0))

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
