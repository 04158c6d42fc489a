"""An app, its reviewers and its ML engineer, over HTTP; nobody moves a route by hand."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests import factories
from tests.faults.evidence import query
from tests.faults.world import World
from tests.rollouts.cast import LABELS, question, truth, truth_of

AT_ONCE = 8
AT_A_TIME = 40
PATIENCE = 540.0
# Seconds between two looks: each costs what an answer costs.
LOOK = 0.5
REVIEWERS = 3
# The gate judges by 45 audited answers or more, and what is audited is not trained on.
FOR_A_DATASET = 120
RATES = {"rate": 1.0, "audit_rate": 0.8, "overlap_rate": 0.0, "daily_budget": 1_000_000}
NEVER = 1_000_000


def spec(name: str, shadow: float, max_risk: float) -> dict[str, Any]:
    return factories.spec(
        name=f"acme/{name}",
        task="classification",
        labels=tuple(dict.fromkeys(LABELS)),
        review=RATES,
        # Datasets are ordered, as an ML engineer does who has fixed something.
        retrain={"min_new_verdicts": NEVER, "min_new_after_drift": NEVER},
        minimum_rows=4,
        minimum_per_label=1,
        targets={"max_risk": max_risk},
        canary={"quiet": "wait", "shadow": shadow},
        guarantee="strict",
    ).model_dump(mode="json")


@dataclass
class Story:
    """One route. `numbers` are those of its questions, which are never asked twice."""

    world: World
    client: httpx.AsyncClient
    name: str
    shadow: float = 0.0
    max_risk: float = 0.3
    given: int = 0
    reviewed: int = 0
    refused: list[str] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def route(self) -> str:
        return f"acme/{self.name}"

    async def begin(self, **changes: Any) -> None:
        wanted = spec(self.name, self.shadow, self.max_risk) | changes
        await self.call("router", "/v1/routes", wanted)

    async def ask(self, count: int) -> list[dict[str, Any]]:
        """Ask so many questions, a few at a time, and have reviewers decide what they get; return
        what the router says of each answer, and whether it is `right`.
        """
        wanted = iter(range(count))
        answers: list[dict[str, Any]] = []

        async def one() -> None:
            for _ in wanted:
                if answer := await self._ask():
                    answers.append(answer)

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        self.given += len(answers)
        await self.review()
        return answers

    async def _ask(self) -> dict[str, Any] | None:
        number = next(self.numbers)
        body = {
            "model": self.route,
            "messages": [{"role": "user", "content": question(number)}],
        }
        url = f"{self.world.urls['router']}/v1/chat/completions"
        try:
            answer = await self.client.post(url, json=body)
        except httpx.HTTPError as error:
            self.refused.append(repr(error))
            return None
        if answer.status_code != 200:
            self.refused.append(f"{answer.status_code} {answer.text[:300]}")
            return None
        given = answer.json()
        text = given["choices"][0]["message"]["content"]
        return dict(given["ratchet"], right=text == truth(number))

    async def review(self) -> None:
        """Decide all that was asked; whoever reviews knows the truth."""

        async def one() -> None:
            while self.reviewed < self.given:
                if not await self._decide():
                    await asyncio.sleep(LOOK)

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(one() for _ in range(REVIEWERS)))

    async def _decide(self) -> bool:
        claimed = await self.call("review", "/v1/queue/next", {"route": self.route})
        if claimed.status_code == 204:
            return False
        item = claimed.json()
        right = truth_of(item["messages"][-1]["content"])
        verdict = {"verdict": "approved"}
        if item["answer"] != right:
            verdict = {"verdict": "corrected", "answer": right}
        await self.call("review", f"/v1/items/{item['item_id']}/verdict", verdict)
        self.reviewed += 1
        return True

    async def trained(self, reason: str) -> dict[str, Any]:
        """Order a dataset, and return what the gate says of the adapter that comes of it."""
        before = len(await self.evaluations())
        while await self._is_refused(reason, before):
            await self.ask(AT_ONCE)
        return dict((await self.evaluations())[0])

    async def _is_refused(self, reason: str, before: int) -> bool:
        """Order a dataset; say whether there were too few rows, as chance has it, or wait for what
        comes of it.
        """
        path = f"/v1/routes/{self.route}"
        sent = {"reason": reason}
        build = (await self.call("dataset-builder", f"{path}/datasets", sent)).json()["build"]

        async def refused() -> bool | None:
            found = (await self.call("dataset-builder", f"{path}/readiness")).json()["refusal"]
            if found and found["build"] == build:
                return True
            return False if len(await self.evaluations()) > before else None

        return bool(await self.until(refused, lambda found: found is not None))

    async def evaluations(self) -> list[dict[str, Any]]:
        path = f"/v1/evaluations?route={self.route}"
        return list((await self.call("evaluator", path)).json()["items"])

    async def shown(self) -> dict[str, Any]:
        """Return what `ratchet routes show` prints."""
        return dict((await self.call("router", f"/v1/routes/{self.route}")).json())

    async def champion(self) -> str | None:
        serving = (await self.shown())["champion"]
        return serving["adapter_id"] if serving else None

    async def promoted(self, evaluation: dict[str, Any]) -> str:
        """Ask until the adapter that the gate let through has passed its canary."""
        assert evaluation["verdict"] == "promote", evaluation["reasons"]
        adapter_id: str = evaluation["adapter"]["adapter_id"]
        async with asyncio.timeout(PATIENCE):
            while await self.champion() != adapter_id:
                await self.ask(AT_ONCE)
        return adapter_id

    async def asked_until(self, over: Callable[[], Awaitable[bool]], most: int) -> None:
        """Ask, at most so many questions, until something is over."""
        for _ in range(most // AT_A_TIME):
            if await over():
                return
            await self.ask(AT_A_TIME)
        # What was asked last may have to be looked at once more.
        await self.until(over, bool)

    async def was_left_alone(self) -> None:
        """See that every request was answered, and that no person moved the route."""
        assert not self.refused, (self.name, self.refused[:3])
        by = {move["actor"] for move in await self.moves() if move["version"] > 1}
        assert by <= {"evaluator", "router"}, (self.name, by)

    async def moves(self) -> list[dict[str, Any]]:
        """Return what `route-changed` said of this route, once it is on the log."""
        [rows] = await query(
            self.world.databases["router"],
            "select payload from outbox where aggregatetype = 'route-changed' and sent_at is not"
            " null order by seq",
        )
        events = [json.loads(row["payload"]) for row in rows]
        return [event for event in events if event["route"] == self.route]

    async def until(self, look: Callable[[], Awaitable[Any]], done: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not done(found := await look()):
                await asyncio.sleep(LOOK)
        return found

    async def call(self, service: str, path: str, body: Any = None) -> httpx.Response:
        url = f"{self.world.urls[service]}{path}"
        answer = await (self.client.get(url) if body is None else self.client.post(url, json=body))
        assert answer.status_code < 400, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer


@asynccontextmanager
async def client_of(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that keeps its connections: a thousand verdicts a test are not few."""
    key = world.client.headers["authorization"]
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(
        headers={"authorization": key}, timeout=30, trust_env=False, limits=limits
    ) as client:
        yield client
