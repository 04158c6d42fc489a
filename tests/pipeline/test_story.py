"""The product in one story: an app asks, a reviewer corrects, an adapter is built, proven,
promoted, and traced back.

Six real services in one process on an event log in memory; the training and the two vLLM servers
are fakes that implement the same port or protocol.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.cli.client import Client
from infra.lineage import gather
from services.capture.app import build as build_capture
from services.capture.settings import Settings as CaptureSettings
from services.dataset_builder.app import build as build_dataset_builder
from services.dataset_builder.settings import Settings as DatasetBuilderSettings
from services.evaluator.app import build as build_evaluator
from services.evaluator.settings import Settings as EvaluatorSettings
from services.review.app import build as build_review
from services.review.settings import Settings as ReviewSettings
from services.router.app import build as build_router
from services.router.settings import Settings as RouterSettings
from services.trainer.app import build as build_trainer
from services.trainer.settings import Settings as TrainerSettings
from shared.service import Service
from tests import factories
from tests.pipeline.memory_log import MemoryLog, Running
from tests.unit.router.fakes import FakeVllm, served
from tests.unit.trainer.worlds import Fake, succeeds

SAID = {
    "delivery": [
        "Where is my parcel with the blue lamp",
        "The courier never rang at our door on Friday",
        "Tracking has not moved since last week",
        "When will order nine arrive in Leeds",
        "My package went to the wrong town",
        "How long does shipping to Norway take",
        "Driver left it in the rain, still waiting for the rest",
        "Is express delivery possible before Christmas",
        "Nothing came yet and it is Tuesday already",
        "Which depot holds my box of plates",
        "Why two shipments for one order",
        "The van passed my street without stopping",
    ],
    "refund": [
        "I want my money back for the kettle",
        "You charged my card twice in March",
        "Still no reimbursement after the return",
        "Please pay me back the difference",
        "The credit never showed up at my bank",
        "Return sent ten days ago, where is the cash",
        "I was promised half the price again",
        "Give me back what I paid for the jacket",
        "Wrong amount was taken from my account",
        "How soon is a repayment booked",
        "I returned both chairs and expect the sum",
        "Chargeback or do you settle it yourselves",
    ],
}


# The gate judges by 45 audited answers or more.
MESSAGES = {
    label: [
        f"{text}{more}" for more in ("", ", please", ", today", ", Anna", "?") for text in texts
    ]
    for label, texts in SAID.items()
}


def knowing(model: str, messages: list[dict]) -> tuple[str, float]:
    """The base model always says 'password'; an adapter knows the right label."""
    if model == "base":
        return "password", -1.5
    text = messages[-1]["content"]
    return next((label for label, texts in MESSAGES.items() if text in texts), "password"), -0.02


class World:
    """Everything that runs, and how to talk to it."""

    def __init__(self, folder: Path, keys: dict[str, str], vllm: dict[str, str]) -> None:
        def settings(kind: type, name: str, **own: Any) -> Any:
            common = {
                "database_url": f"sqlite+aiosqlite:///{folder}/{name}.db",
                "artifacts_url": f"file://{folder}/artifacts",
                "keys_file": keys["file"],
                "surrogate_secret": factories.SURROGATE_SECRET,
            }
            return kind(**(common | own))

        self.log = MemoryLog()
        self.services: dict[str, Service] = {
            "router": build_router(
                settings(
                    RouterSettings,
                    "router",
                    vllm_url=vllm["serving"],
                    adapter_cache=folder / "serving",
                    canary_requests=2,
                    canary_seconds=0.5,
                    canary_share=1.0,
                    reconcile_seconds=0.05,
                ),
                self.log,
            ),
            "capture": build_capture(settings(CaptureSettings, "capture"), self.log),
            "review": build_review(settings(ReviewSettings, "review"), self.log),
            "dataset-builder": build_dataset_builder(
                settings(DatasetBuilderSettings, "builder"), self.log
            ),
            "trainer": build_trainer(
                settings(
                    TrainerSettings, "trainer", base_model="org/model", work_dir=folder / "work"
                ),
                self.log,
                Fake(succeeds),
            ),
            "evaluator": build_evaluator(
                settings(
                    EvaluatorSettings,
                    "evaluator",
                    vllm_url=vllm["evaluation"],
                    cache_dir=folder / "cache",
                ),
                self.log,
            ),
        }
        self.client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {keys['acme']}"}, timeout=30
        )
        self.urls: dict[str, str] = {}
        self.engines: dict[str, FakeVllm] = {}

    async def call(self, service: str, path: str, body: dict | None = None) -> httpx.Response:
        url = f"{self.urls[service]}{path}"
        response = await (
            self.client.get(url) if body is None else self.client.post(url, json=body)
        )
        assert response.status_code < 400, response.text
        return response

    async def ask(self, text: str) -> dict:
        body = {"model": factories.ROUTE, "messages": [{"role": "user", "content": text}]}
        return (await self.call("router", "/v1/chat/completions", body)).json()

    async def event(self, topic: str, seconds: float = 180) -> dict:
        async with asyncio.timeout(seconds):
            while not self.log.events(topic):
                await asyncio.sleep(0.05)
        return self.log.events(topic)[-1]

    async def review_everything(self) -> int:
        truth = {text: label for label, texts in MESSAGES.items() for text in texts}
        done = 0
        while (claimed := await self.call("review", "/v1/queue/next", {})).status_code == 200:
            item = claimed.json()
            await self.call(
                "review",
                f"/v1/items/{item['item_id']}/verdict",
                {"verdict": "corrected", "answer": truth[item["messages"][-1]["content"]]},
            )
            done += 1
        return done


@pytest.fixture
async def world(tmp_path: Path, keys: dict[str, str]) -> Any:
    async with AsyncExitStack() as stack:
        engines = {name: FakeVllm(knowing) for name in ("serving", "evaluation")}
        vllm = {
            name: await stack.enter_async_context(served(engine.app))
            for name, engine in engines.items()
        }
        world = World(tmp_path, keys, vllm)
        world.engines = engines
        await stack.enter_async_context(Running(world.log, list(world.services.values())))
        for name, service in world.services.items():
            world.urls[name] = await stack.enter_async_context(served(service.api))
        yield world
        await world.client.aclose()


@pytest.mark.timeout(540)
async def test_a_correction_becomes_the_answer_and_leads_back_to_its_reviewer(world: World) -> None:
    spec = factories.spec(
        labels=("delivery", "refund"),
        label_descriptions={},
        review={"rate": 1.0, "audit_rate": 0.5},
        minimum_rows=4,
        minimum_per_label=1,
        retrain={"min_new_verdicts": 1000},
    )
    await world.call("router", "/v1/routes", spec.model_dump(mode="json"))
    answers = [await world.ask(text) for texts in MESSAGES.values() for text in texts]
    assert {answer["choices"][0]["message"]["content"] for answer in answers} == {"password"}
    async with asyncio.timeout(180):
        reviewed = 0
        while reviewed < len(answers):
            reviewed += await world.review_everything()
    async with asyncio.timeout(180):
        while len(world.log.events("review-completed")) < len(answers):
            await asyncio.sleep(0.05)

    await world.call(
        "dataset-builder",
        f"/v1/routes/{factories.ROUTE}/datasets",
        {"reason": "enough for a story"},
    )
    dataset = await world.event("dataset-built")
    audited = {
        event["inference_id"] for event in world.log.events("review-completed") if event["audit"]
    }
    rows = (
        await world.call(
            "dataset-builder", f"/v1/datasets/{dataset['dataset_id']}/rows?split=train&limit=200"
        )
    ).json()["items"]
    assert rows and not audited & {row["inference_id"] for row in rows}, (
        "an audited answer was trained on"
    )

    trained = await world.event("adapter-trained")
    verdict = await world.event("adapter-evaluated")
    assert verdict["verdict"] == "promote", verdict["reasons"]
    while (await world.call("router", f"/v1/routes/{factories.ROUTE}")).json()["champion"] is None:
        await world.ask(MESSAGES["refund"][0])
    answer = await world.ask(MESSAGES["refund"][0])
    assert answer["choices"][0]["message"]["content"] == "refund"
    assert answer["ratchet"]["adapter"] == trained["adapter"]["adapter_id"]

    facts = await asyncio.to_thread(
        gather,
        Client(world.urls, world.client.headers["authorization"].removeprefix("Bearer ")),
        answer["id"],
    )
    assert facts["adapter"]["dataset_id"] == dataset["dataset_id"]
    assert facts["evaluation"]["evaluation_id"] == verdict["evaluation_id"]
    assert facts["reviewers"] == {"acme-all": len(rows)}
    assert not [topic for topic, _ in world.log.history if topic.endswith("-dlq")]
