"""Simulated reviewers: they know the true label, and err at a set rate."""

from __future__ import annotations

import asyncio
import random
import time

import httpx

from infra.demo.patience import patiently
from schemas.answers import same_answer
from schemas.route import RouteSpec


class Reviewers:
    """A message for which the route has no label is rejected: no right answer can be given.

    One who errs says another label, or what is right for another message.
    """

    def __init__(
        self,
        review_url: str,
        keys: dict[str, str],
        spec: RouteSpec,
        truth: dict[str, str],
        error_rate: float,
        seed: int,
    ) -> None:
        self.url = review_url
        self.keys = keys
        self.spec = spec
        self.truth = truth
        self.error_rate = error_rate
        self.random = random.Random(seed)
        self._busy = time.monotonic()
        self.done = 0
        self.corrected = 0
        self.rejected = 0
        self.erred = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._work(key) for key in self.keys.values()))

    async def _work(self, key: str) -> None:
        async with httpx.AsyncClient(
            base_url=self.url, headers={"authorization": f"Bearer {key}"}, timeout=30
        ) as client:
            while True:
                if not await self._one(client):
                    await asyncio.sleep(1.0)

    async def _one(self, client: httpx.AsyncClient) -> bool:
        """Review one item; return False when the queue was empty."""
        claimed = await patiently(
            lambda: client.post("/v1/queue/next", json={"route": self.spec.name})
        )
        if claimed.status_code == 204:
            return False
        self._busy = time.monotonic()
        item = claimed.json()
        answer = self._opinion(next(m["content"] for m in item["messages"] if m["role"] == "user"))
        known = self.spec.task != "classification" or answer in self.spec.labels
        # Review has not heard of the new labels yet.
        if answer in self.spec.labels and answer not in item["labels"]:
            await patiently(lambda: client.post(f"/v1/items/{item['item_id']}/release"))
            return False
        approved = same_answer(answer, item["answer"], self.spec)
        verdict = (
            {"verdict": "approved"} if approved else {"verdict": "corrected", "answer": answer}
        )
        if not known:
            verdict = {"verdict": "rejected"}
        await patiently(lambda: client.post(f"/v1/items/{item['item_id']}/verdict", json=verdict))
        self.done += 1
        self.corrected += verdict["verdict"] == "corrected"
        self.rejected += verdict["verdict"] == "rejected"
        return True

    def idle_seconds(self) -> float:
        """Return the seconds since the last item that any of them got."""
        return time.monotonic() - self._busy

    def _opinion(self, text: str) -> str:
        truth = self.truth[text]
        if self.random.random() >= self.error_rate:
            return truth
        self.erred += 1
        others = self.spec.labels or tuple(dict.fromkeys(self.truth.values()))
        return self.random.choice([answer for answer in others if answer != truth] or [truth])
