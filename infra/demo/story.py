"""The two acts. Each step waits for what the system really did; nothing is assumed to have
happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.demo.data import LATE_SHARE, MORE_LATE_SHARE, DemoData, Sample
from infra.demo.patience import until
from infra.demo.platform import Platform
from infra.demo.reviewers import Reviewers
from infra.demo.traffic import Answered, App, accuracy
from infra.demo.view import View
from shared.errors import RatchetError

BASELINE = 370
AFTER = 90
CHUNK = 30
MAX_CHUNKS = 6
MORE_LATE = 200
CORRECTIONS = 90
CANARY = 8
TRIES = 3
QUIET_SECONDS = 3
ACT_1_POINTS = 30
ACT_2_POINTS = 20
BUILD_SECONDS = 90
TRAIN_SECONDS = 900
EVALUATE_SECONDS = 400
CANARY_SECONDS = 240
DRIFT_SECONDS = 60
REVIEW_SECONDS = 90


class StoryStopped(RatchetError):
    """The system decided against going on; its reasons are in the message."""


@dataclass
class Phase:
    name: str
    answered: list[Answered]
    reviewed: int


@dataclass
class Story:
    """Everything the report needs: phases, what happened when (seconds since the start), how long
    each step took.
    """

    app: App
    data: DemoData
    platform: Platform
    reviewers: Reviewers
    view: View
    started: float
    phases: list[Phase] = field(default_factory=list)
    happened: list[tuple[float, str, str]] = field(default_factory=list)
    steps: list[tuple[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    followed: int = 0  # datasets whose adapter was judged

    async def tell(self) -> None:
        await self.act_one()
        await self.act_two()

    async def act_one(self) -> None:
        self.view.act(
            "Act 1: the base model is weak; corrections arrive; version 1 is trained, proven and"
            " promoted"
        )
        await self._traffic("1 base model", self.data.take(BASELINE))
        await self._promotion(number=1, late_share=0.0)
        await self._traffic("2 version 1", self.data.take(AFTER))

    async def act_two(self) -> None:
        self.view.act(
            "Act 2: new kinds of requests appear; drift is detected; version 2 is trained, proven"
            " and promoted"
        )
        await self._drift()
        await self._add_labels()
        await self._traffic("4 labels added", self.data.take(MORE_LATE, MORE_LATE_SHARE))
        await self._promotion(number=2, late_share=LATE_SHARE)
        await self._traffic("5 version 2", self.data.take(AFTER, LATE_SHARE))

    async def _traffic(self, phase: str, samples: list[Sample]) -> None:
        with (
            self._timed(f"traffic: {phase}"),
            self.view.bar(f"{phase}: {len(samples)} requests", len(samples)) as bar,
        ):
            before = self.reviewers.done
            answered = await self.app.send(phase, samples, bar.advance)
        await asyncio.sleep(0.5)
        self._keep(phase, answered, self.reviewers.done - before)
        self.view.measured(phase, accuracy(answered))

    def _keep(self, phase: str, answered: list[Answered], reviewed: int) -> None:
        known = next((one for one in self.phases if one.name == phase), None)
        if known:
            known.answered += answered
            known.reviewed += reviewed
        else:
            self.phases.append(Phase(phase, answered, reviewed))

    async def _drift(self) -> None:
        """Send new kinds of requests until the evaluator says that something changed."""
        with self._timed("drift detected after"):
            for _ in range(MAX_CHUNKS):
                await self._traffic("3 new requests", self.data.take(CHUNK, LATE_SHARE))
                if await self._alarm(seconds=5):
                    break
            alarm = await until(lambda: self._alarm(seconds=0.1), "drift", DRIFT_SECONDS)
        self._mark("drift", "drift detected")
        fired = [
            f"{s['name']} p={s['p_value']:.2g}" if s["p_value"] is not None else s["name"]
            for s in alarm["statistics"]
            if s["fired"]
        ]
        self.view.note(f"drift detected ({alarm['monitor']}): {', '.join(fired)}")

    async def _alarm(self, seconds: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + seconds
        while (
            not (alarms := await self.platform.drift_alarms(self.data.spec.name))
            and time.monotonic() < deadline
        ):
            await asyncio.sleep(0.4)
        return alarms[0] if alarms else None

    async def _add_labels(self) -> None:
        spec = self.data.spec_with_late_labels()
        await self.platform.put_route(spec)
        self.app.spec = self.reviewers.spec = spec
        self._mark("labels", "labels added")
        self.view.note(
            f"reviewers found no label for {self.reviewers.rejected} answers; the team adds"
            f" {', '.join(self.data.late)}"
        )

    async def _promotion(self, number: int, late_share: float) -> None:
        """Follow a version from the last correction to serving. A refused one is not the end:
        corrections go on, the next is tried.
        """
        evaluation = await self._candidate(f"version {number}")
        for again in range(2, TRIES + 1):
            if evaluation["verdict"] == "promote":
                break
            self.view.note(
                "the gate refused it, and the route goes on as before; more corrections, then try"
                f" {again} of {TRIES}"
            )
            await self._correct_more(late_share)
            evaluation = await self._candidate(f"version {number}, try {again}")
        if evaluation["verdict"] != "promote":
            raise StoryStopped(
                f"the gate refused {TRIES} adapters, the last because:"
                f" {'; '.join(evaluation['reasons'])}"
            )
        await self._serving(number, late_share)

    async def _candidate(self, name: str) -> dict[str, Any]:
        """Dataset, training and verdict; the loop itself is not helped along."""
        with self._timed(f"{name}: dataset"):
            dataset = await until(self._dataset, await self._why_no_dataset(), BUILD_SECONDS)
        self.view.note(f"dataset {dataset['dataset_id']}: {dataset['rows']}")
        with self._timed(f"{name}: training"):
            await self._watch_training(dataset["dataset_id"])
        with (
            self._timed(f"{name}: evaluation"),
            self.view.spinner("evaluating base, champion and challenger on held-out rows"),
        ):
            evaluation = await until(
                lambda: self._evaluation(dataset["dataset_id"]), "the evaluation", EVALUATE_SECONDS
            )
        self.followed += 1
        self.evaluations.append(evaluation)
        self.view.gate(evaluation)
        return evaluation

    async def _correct_more(self, late_share: float) -> None:
        """As an ML engineer would: let corrections come in, and order a dataset unless the route's
        rule has built one.
        """
        await self._traffic("more corrections", self.data.take(CORRECTIONS, late_share))
        await until(self._reviewed, "the end of the reviews", REVIEW_SECONDS)
        if not await self._dataset():
            await self.platform.order_dataset(
                self.data.spec.name,
                "the gate refused the last adapter; there are more corrections now",
            )

    async def _reviewed(self) -> bool:
        return self.reviewers.idle_seconds() > QUIET_SECONDS

    async def _serving(self, number: int, late_share: float) -> None:
        name = self.data.spec.name
        with self._timed(f"version {number}: canary"):
            await until(
                lambda: self._canary(number, late_share), "the promotion", CANARY_SECONDS, every=0
            )
        self._mark("promotion", f"version {number} serves")
        self.view.note(f"{await self.platform.champion(name)} serves all traffic of {name}")

    async def _dataset(self) -> dict[str, Any] | None:
        """The newest, when it is one that was not followed yet."""
        found = await self.platform.datasets(self.data.spec.name)
        return found[0] if len(found) > self.followed else None

    async def _why_no_dataset(self) -> str:
        return (
            "the dataset build (dataset-builder says"
            f" {await self.platform.readiness(self.data.spec.name)})"
        )

    async def _watch_training(self, dataset_id: str) -> None:
        with self.view.bar("training", None) as bar:

            async def finished() -> bool:
                job = next(
                    (
                        j
                        for j in await self.platform.training_jobs()
                        if j["dataset_id"] == dataset_id
                    ),
                    None,
                )
                if job is None:
                    return False
                if job["state"] == "failed":
                    raise StoryStopped(f"training failed: {job['error']}")
                bar.training(job["progress"], job["attempt"])
                return job["state"] == "finished"

            await until(finished, "training", TRAIN_SECONDS)

    async def _evaluation(self, dataset_id: str) -> dict[str, Any] | None:
        return next(
            (
                e
                for e in await self.platform.evaluations(self.data.spec.name)
                if e["dataset_id"] == dataset_id
            ),
            None,
        )

    async def _canary(self, number: int, late_share: float) -> bool:
        """Live traffic while the new version answers only a share of it."""
        if (
            await self.platform.champion(self.data.spec.name)
            == self.evaluations[-1]["adapter"]["adapter_id"]
        ):
            return True
        answered = await self.app.send("canary", self.data.take(CANARY, late_share), lambda: None)
        self._keep(f"canary of version {number}", answered, 0)
        return False

    def _mark(self, kind: str, text: str) -> None:
        self.happened.append((time.monotonic() - self.started, kind, text))

    def _timed(self, step: str) -> Stopwatch:
        return Stopwatch(lambda seconds: self.steps.append((step, seconds)))

    def verdicts(self) -> list[tuple[str, bool, str]]:
        """Did each act succeed, by measurement."""
        base, tuned = (accuracy(self._phase(n).answered) for n in ("1 base model", "2 version 1"))
        low = accuracy(
            [
                a
                for n in ("3 new requests", "4 labels added")
                for a in self._phase(n).answered
                if a.late
            ]
        )
        recovered = accuracy([a for a in self._phase("5 version 2").answered if a.late])
        return [
            (
                "act 1",
                (tuned - base) * 100 >= ACT_1_POINTS,
                (
                    f"accuracy {base:.0%} -> {tuned:.0%} ({(tuned - base) * 100:+.0f} points, at"
                    f" least +{ACT_1_POINTS} needed)"
                ),
            ),
            (
                "act 2",
                (recovered - low) * 100 >= ACT_2_POINTS,
                (
                    f"accuracy on the late labels {low:.0%} -> {recovered:.0%}"
                    f" ({(recovered - low) * 100:+.0f} points, at least +{ACT_2_POINTS} needed)"
                ),
            ),
        ]

    def _phase(self, name: str) -> Phase:
        return next(phase for phase in self.phases if phase.name == name)


class Stopwatch:
    def __init__(self, done: Callable[[float], None]) -> None:
        self.done = done

    def __enter__(self) -> None:
        self.began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.done(time.monotonic() - self.began)
