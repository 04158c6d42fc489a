"""Clients of everything at once: apps that are captured, apps that ask the router, users,
reviewers, and the route's owner.

They behave as clients should: what was not answered is sent again under the same id. Each has its
own seeded generator.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from schemas.route import RouteSpec
from tests import factories
from tests.faults.history import History
from tests.faults.stub_vllm import label_of, question
from tests.faults.world import World

RETRY_SECONDS = 0.1
FIRST_TIME_LIMIT = 90.0


def spec(number: int = 0, **changes: Any) -> RouteSpec:
    """The route's owner edits a description now and then, so that `route-changed` has something to
    say.
    """
    return factories.spec(
        **{
            "labels": ("delivery", "refund"),
            "label_descriptions": {"refund": f"edition {number}"},
            "minimum_rows": 4,
            "minimum_per_label": 1,
            "review": {"rate": 0.6, "audit_rate": 0.2},
            "retrain": {"min_new_verdicts": 8},
            "task": "classification",
            **changes,
        }
    )


class Clients:
    """`pause`: seconds between the operations of one client. `first_turn` tells the names of these
    operations from those of an earlier run over the same world.
    """

    def __init__(
        self,
        world: World,
        history: History,
        seed: int,
        pause: float = 0.1,
        first_turn: int = 0,
    ) -> None:
        self.world = world
        self.history = history
        self.seed = seed
        self.pause = pause
        self.first_turn = first_turn
        self.stopping = False
        self.refused: list[str] = []

    async def begin(self, route: RouteSpec | None = None) -> None:
        """Create the route and wait until capture has heard of it."""
        await self.set_route(0, route)
        async with asyncio.timeout(FIRST_TIME_LIMIT):
            while not await self._captured([{"client_id": "hello", "input": "hello"}], "inference"):
                await asyncio.sleep(RETRY_SECONDS)

    async def run(self) -> None:
        """Until `stopping`; each client ends with its operation answered, as far as anybody
        answers.
        """
        roles: list[Callable[[random.Random, int], Awaitable[None]]] = [
            self.app,
            self.app,
            self.asker,
            self.asker,
            self.reviewer,
            self.reviewer,
            self.owner,
        ]
        await asyncio.gather(*(self._forever(role, number) for number, role in enumerate(roles)))

    async def _forever(
        self, role: Callable[[random.Random, int], Awaitable[None]], number: int
    ) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        turn = self.first_turn
        while not self.stopping:
            await role(rng, number * 1_000_000 + turn)
            turn += 1
            await asyncio.sleep(self.pause * rng.uniform(0.5, 1.5))

    async def app(self, rng: random.Random, turn: int) -> None:
        """Captured in small batches; then its users judge some of the answers."""
        batch = [
            {
                "client_id": f"inf-{turn}-{i}",
                "input": question(rng)[0],
                "answer": rng.choice(("delivery", "refund")),
            }
            for i in range(rng.randint(1, 4))
        ]
        given = await self._captured(batch, "inference")
        for name, inference_id in given.items():
            if rng.random() < 0.4:
                await self.judge(rng, f"fb-{name}", inference_id)

    async def asker(self, rng: random.Random, turn: int) -> None:
        """Each attempt at the router is an operation of its own: a chat has no client id to be
        recognised by.
        """
        text, label = question(rng)
        for attempt in range(100):
            operation = self.history.invoke("chat", f"chat-{turn}-{attempt}")
            body = {
                "model": factories.ROUTE,
                "messages": [{"role": "user", "content": text}],
                "metadata": {"case": operation.name},
            }
            answer = await self._post("router", "/v1/chat/completions", body)
            if answer and answer.status_code == 200:
                self.history.ok(operation, answer.json()["id"])
                if rng.random() < 0.3:  # often sooner than the inference itself is published
                    await self.judge(rng, f"fb-{operation.name}", operation.given, label)
                return
            if self.stopping:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def judge(
        self, rng: random.Random, name: str, inference_id: str, label: str = "refund"
    ) -> None:
        said: dict[str, Any] = {"rating": rng.choice((0, 1))} | (
            {"correction": label} if rng.random() < 0.3 else {}
        )
        await self._captured(
            [{"client_id": name, "inference_id": inference_id, **said}], "feedback", tuple(said)
        )

    async def reviewer(self, rng: random.Random, _: int) -> None:
        claimed = await self._post("review", "/v1/queue/next", {})
        if claimed is None or claimed.status_code != 200:
            return None
        item = claimed.json()
        operation = self.history.invoke("verdict", item["item_id"])
        verdict = (
            {"verdict": "corrected", "answer": label_of(item["messages"][-1]["content"])}
            if rng.random() < 0.9
            else {"verdict": "rejected"}
        )
        while not self.stopping:
            answer = await self._post("review", f"/v1/items/{item['item_id']}/verdict", verdict)
            if answer and answer.status_code == 200:
                return self.history.ok(operation, item["item_id"])
            if answer and 400 <= answer.status_code < 500:
                # its claim expired and somebody else decided
                return self._refused(operation, answer)
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def owner(self, rng: random.Random, turn: int) -> None:
        await asyncio.sleep(10 * self.pause)
        await self.set_route(turn)

    async def set_route(self, number: int, route: RouteSpec | None = None) -> None:
        operation = self.history.invoke("route", f"edition {number}")
        body = (route or spec(number)).model_dump(mode="json")
        while not self.stopping:
            answer = await self._post("router", "/v1/routes", body)
            if answer and answer.status_code < 300:
                return self.history.ok(operation, operation.name)
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _captured(
        self, batch: list[dict[str, Any]], kind: str, judgements: tuple[str, ...] = ()
    ) -> dict[str, str]:
        """Sends a batch until it is answered; returns the ids that were given."""
        path, field = (
            ("/v1/inferences", "inferences")
            if kind == "inference"
            else ("/v1/feedback", "feedback")
        )
        operations = [self.history.invoke(kind, item["client_id"], judgements) for item in batch]
        common = {"answer": "delivery", "metadata": {}} if kind == "inference" else {}
        items = [
            common
            | item
            | {"route": "support-triage"}
            | ({"metadata": {"case": item["client_id"]}} if common else {})
            for item in batch
        ]
        while not self.stopping:
            answer = await self._post("capture", path, {field: items})
            if answer and answer.status_code == 202:
                given = answer.json()[f"{kind}_ids"]
                for operation, one in zip(operations, given, strict=True):
                    self.history.ok(operation, one) if one else self.history.failed(operation)
                return {
                    operation.name: operation.given for operation in operations if operation.given
                }
            if answer is not None and answer.status_code == 422 and "no route" in answer.text:
                return {}  # it has not heard of the route yet
            if answer is not None and answer.status_code not in (503, 500):
                self._refused(operations[0], answer)
                return {}
            await asyncio.sleep(RETRY_SECONDS)
        return {}

    def _refused(self, operation: Any, answer: httpx.Response) -> None:
        self.history.failed(operation)
        self.refused.append(
            f"{operation.kind} {operation.name}: {answer.status_code} {answer.text[:200]}"
        )

    async def _post(self, service: str, path: str, body: dict) -> httpx.Response | None:
        try:
            return await self.world.call(service, path, body)
        except httpx.HTTPError:
            return None
