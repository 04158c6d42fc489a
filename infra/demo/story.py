"""The two acts. Each step waits for what the system really did."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from infra.data.reading import Sample
from infra.demo.data import DemoData
from infra.demo.patience import until
from infra.demo.plan import CHUNKS_AGAIN, LATE_SHARE, MAX_CHUNKS, MORE_LATE_SHARE, Plan
from infra.demo.platform import Platform
from infra.demo.record import BASE, FIRST, LABELS_ADDED, NEW_REQUESTS, SECOND, Record
from infra.demo.reviewers import Reviewers
from infra.demo.traffic import App, accuracy
from infra.demo.view import View
from schemas.base import JsonObject
from shared.errors import RatchetError

# How many adapters the gate may refuse.
TRIES = 3
# Fewer corrections change nothing that the gate could see.
LEAST_CORRECTIONS = 20
# Requests at a time while a canary runs.
CANARY = 8
# Reviewers without a new item for so long are through.
QUIET_SECONDS = 3
# At full length; a longer story multiplies them.
BUILD_SECONDS = 90
TRAIN_SECONDS = 1800
EVALUATE_SECONDS = 400
CANARY_SECONDS = 240
DRIFT_SECONDS = 60
REVIEW_SECONDS = 90


class StoryStopped(RatchetError):
    """The system decided against going on; its reasons are in the message."""


@dataclass
class Story:
    app: App
    data: DemoData
    platform: Platform
    reviewers: Reviewers
    view: View
    record: Record
    # Datasets whose adapter was judged.
    followed: int = 0

    @property
    def plan(self) -> Plan:
        return self.data.plan

    async def tell(self) -> None:
        await self.act_one()
        if self.plan.without_act_two is None:
            await self.act_two()

    async def act_one(self) -> None:
        self.view.act(
            "Act 1: the base model is weak; corrections arrive; version 1 is trained, proven and"
            " promoted"
        )
        await self._traffic(BASE, self.data.take(self.plan.baseline))
        await self._promotion(number=1, late_share=0.0)
        await self._traffic(FIRST, self.data.take(self.plan.after))

    async def act_two(self) -> None:
        self.view.act(
            "Act 2: new kinds of requests appear; drift is detected; version 2 is trained, proven"
            " and promoted"
        )
        await self._drift()
        await self._add_labels()
        await self._traffic(LABELS_ADDED, self.data.take(self.plan.more_late, MORE_LATE_SHARE))
        await self._promotion(number=2, late_share=LATE_SHARE)
        await self._traffic(SECOND, self.data.take(self.plan.after, LATE_SHARE))

    async def _traffic(self, phase: str, samples: list[Sample]) -> None:
        with (
            self.record.timed(f"traffic: {phase}"),
            self.view.bar(f"{phase}: {len(samples)} requests", len(samples)) as bar,
        ):
            before = self.reviewers.done
            answered = await self.app.send(phase, samples, bar.advance)
        await asyncio.sleep(0.5)
        self.record.keep(phase, answered, self.reviewers.done - before)
        self.view.measured(phase, accuracy(answered))

    async def _drift(self) -> None:
        """Send new kinds of requests until the evaluator says that something changed."""
        with self.record.timed("drift detected after"):
            for number in range(MAX_CHUNKS + CHUNKS_AGAIN):
                send = self.data.take if number < MAX_CHUNKS else self.data.repeat
                await self._traffic(NEW_REQUESTS, send(self.plan.chunk, LATE_SHARE))
                if await self._alarm(seconds=5):
                    break
            alarm = await until(lambda: self._alarm(seconds=0.1), "drift", DRIFT_SECONDS)
        self.record.mark("drift", "drift detected")
        fired = [
            f"{s['name']} p={s['p_value']:.2g}" if s["p_value"] is not None else s["name"]
            for s in alarm["statistics"]
            if s["fired"]
        ]
        self.view.note(f"drift detected ({alarm['monitor']}): {', '.join(fired)}")

    async def _alarm(self, seconds: float) -> JsonObject | None:
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
        self.app.spec = spec
        self.reviewers.spec = spec
        self.record.mark("labels", "labels added")
        self.view.note(
            f"reviewers found no label for {self.reviewers.rejected} answers; the team adds"
            f" {', '.join(self.data.late)}"
        )

    async def _promotion(self, number: int, late_share: float) -> None:
        """Follow a version from the last correction to serving.

        After a refusal corrections go on, and the next one is tried.
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

    async def _candidate(self, name: str) -> JsonObject:
        """Wait for a dataset, its training and the gate's verdict; nothing is helped along."""
        with self.record.timed(f"{name}: dataset"):
            dataset = await until(
                self._dataset, await self._why_no_dataset(), self._patience(BUILD_SECONDS)
            )
        self.view.note(f"dataset {dataset['dataset_id']}: {dataset['rows']}")
        with self.record.timed(f"{name}: training"):
            await self._watch_training(dataset["dataset_id"])
        with (
            self.record.timed(f"{name}: evaluation"),
            self.view.spinner("evaluating base, champion and challenger on held-out rows"),
        ):
            evaluation = await until(
                lambda: self._evaluation(dataset["dataset_id"]),
                "the evaluation",
                self._patience(EVALUATE_SECONDS),
            )
        self.followed += 1
        self.record.evaluations.append(evaluation | {"name": name})
        self.view.gate(evaluation)
        return evaluation

    async def _correct_more(self, late_share: float) -> None:
        """Let corrections come in, and order a dataset unless the route's rule has built one."""
        samples = self.data.take(self._spare(), late_share)
        await self._traffic("more corrections", samples)
        await until(self._reviewed, "the end of the reviews", self._patience(REVIEW_SECONDS))
        if not await self._dataset():
            await self.platform.order_dataset(
                self.data.spec.name,
                "the gate refused the last adapter; there are more corrections now",
            )

    def _spare(self) -> int:
        """Return how many messages may go into corrections; what measures a version is kept."""
        spare = min(self.plan.corrections, self.data.left - self.plan.after)
        if spare < LEAST_CORRECTIONS:
            raise StoryStopped(
                f"the gate refused ({'; '.join(self.record.evaluations[-1]['reasons'])}), and the"
                f" {self.data.left} messages that are left are needed to measure the next:"
                " add rows"
            )
        return spare

    def _patience(self, seconds: float) -> float:
        return seconds * self.plan.patience

    async def _reviewed(self) -> bool:
        return self.reviewers.idle_seconds() > QUIET_SECONDS

    async def _serving(self, number: int, late_share: float) -> None:
        name = self.data.spec.name
        with self.record.timed(f"version {number}: canary"):
            await until(
                lambda: self._canary(number, late_share), "the promotion", CANARY_SECONDS, every=0
            )
        self.record.mark("promotion", f"version {number} serves")
        self.view.note(f"{await self.platform.champion(name)} serves all traffic of {name}")

    async def _dataset(self) -> JsonObject | None:
        """Return the newest dataset, when it was not followed yet."""
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
                jobs = await self.platform.training_jobs()
                job = next((job for job in jobs if job["dataset_id"] == dataset_id), None)
                if job is None:
                    return False
                if job["state"] == "failed":
                    raise StoryStopped(f"training failed: {job['error']}")
                bar.training(job["progress"], job["attempt"])
                return bool(job["state"] == "finished")

            await until(finished, "training", self._patience(TRAIN_SECONDS))

    async def _evaluation(self, dataset_id: str) -> JsonObject | None:
        found = await self.platform.evaluations(self.data.spec.name)
        return next((one for one in found if one["dataset_id"] == dataset_id), None)

    async def _canary(self, number: int, late_share: float) -> bool:
        """Send live traffic while the new version answers a share; say whether it serves all."""
        if (
            await self.platform.champion(self.data.spec.name)
            == self.record.evaluations[-1]["adapter"]["adapter_id"]
        ):
            return True
        answered = await self.app.send(
            "canary", self.data.take_or_repeat(CANARY, late_share), lambda: None
        )
        self.record.keep(f"canary of version {number}", answered, 0)
        return False
