"""No accepted input makes an event that the log refuses, or that a consumer cannot digest.

Every field is tried at its limits of size and of escapes, through the real doors of the producers
into a real broker, on both databases; whatever was accepted is on the log once, none is parked, and
no consumer has a dead letter of it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.events import InferenceRecorded
from services.capture import parsing
from services.capture.shapes import SentFeedback
from shared.events import outbox
from tests import factories
from tests.integration.doors import (
    FREE,
    HOSTILE_SHARE,
    Doors,
    Fuzz,
    free_route,
    fuzzer,
    opened,
)
from tests.kafka import KINDS, apache_missing

ROUNDS = 30


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "apache" and (reason := apache_missing()):
        pytest.skip(reason)
    return request.param


@pytest.fixture(params=["sqlite", "postgres"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    if request.param == "sqlite":
        return lambda name: f"sqlite+aiosqlite:///{tmp_path}/{name}.db"
    server = request.getfixturevalue("postgres_server")
    return lambda _: server.new_database()


class Trial:
    """Sends, and remembers what was accepted."""

    def __init__(self, doors: Doors, chance: random.Random) -> None:
        self.doors = doors
        self.chance = chance
        self.text: Fuzz = fuzzer(chance)
        self.inferences: list[str] = []
        self.feedback: list[str] = []
        self.verdicts: list[str] = []

    def some(self, **values: Any) -> dict[str, Any]:
        """Leave out some of the optional fields."""
        return {name: value for name, value in values.items() if self.chance.random() < 0.6}

    def number(self, *right: Any, wrong: Any) -> Any:
        """Choose what is right, and seldom what is wrong."""
        return wrong if self.chance.random() < HOSTILE_SHARE else self.chance.choice(right)

    def word(self, limit: int) -> str:
        """Make a name of up to a limit, and seldom one that is none."""
        if self.chance.random() < HOSTILE_SHARE:
            return self.text(limit + 1)
        return f"{self.chance.getrandbits(64):x}".ljust(self.chance.choice((16, limit)), "x")

    async def capture_inference(self) -> None:
        text = self.text
        body = {
            "route": FREE if self.chance.random() < 0.9 else text(200),
            "input": text(self.chance.choice((300, 40_000, 300_000))),
            "answer": text(self.chance.choice((300, 300_000))),
        } | self.some(
            client_id=self.word(128),
            model=text(200),
            latency_ms=self.number(0, 1e10, 1.5, wrong=1e11),
            prompt_tokens=self.number(0, 2**31 - 1, wrong=2**31),
            metadata={
                f"{n}{self.word(60)}": text(1024) for n in range(self.number(1, 32, wrong=33))
            },
            occurred_at=self.number("2026-01-01T00:00:00+14:00", wrong="0001-01-01T00:00:00+14:00"),
        )
        reply = await self.doors.send("capture", "/v1/inferences", body)
        if reply.status_code == 202 and reply.json()["accepted"]:
            self.inferences += reply.json()["inference_ids"]

    async def capture_feedback(self) -> None:
        text = self.text
        known = self.chance.choice(self.inferences) if self.inferences else "inf_1"
        body = {"inference_id": known, "route": FREE} | self.some(
            rating=self.number(0, 1, 1e300, -1e300, wrong="good"),
            comment=text(16_384),
            correction=text(131_072),
            outcome=self.number(1.5, text(16_384), wrong=text(250_000)),
            client_id=self.word(128),
        )
        reply = await self.doors.send("capture", "/v1/feedback", body)
        if reply.status_code == 202 and reply.json()["accepted"]:
            self.feedback += reply.json()["feedback_ids"]

    async def chat(self) -> None:
        text = self.text
        content = text(self.chance.choice((100, 200_000, 400_000)))
        body = {"model": FREE, "messages": [{"role": "user", "content": content}]} | self.some(
            user=text(1000),
            metadata={f"{n}{text(60)}": text(512) for n in range(self.number(1, 16, wrong=17))},
        )
        reply = await self.doors.send("router", "/v1/chat/completions", body)
        if reply.status_code == 200:
            self.inferences.append(reply.json()["id"])

    async def put_route(self) -> None:
        text = self.text
        number = self.number(30, 50, 1_000_000, wrong=2**31)
        labels = [
            f"{index}{self.word(100)}" for index in range(self.number(2, 20, 900, wrong=1001))
        ]
        body = {
            "name": f"acme/r{self.chance.randrange(5)}",
            "labels": labels,
            "system_prompt": text(self.chance.choice((10_000, 65_536))),
            "detailed_prompt": "{labels}" + text(self.chance.choice((10_000, 65_000))),
        } | self.some(
            label_descriptions={label: text(2000) for label in labels[:3]},
            output_schema={self.word(100): [text(1000), number]},
            review={"drift_batch": number},
            retrain={"min_new_verdicts": number, "recipe": self.word(64)},
            drift={"reference": number, "window": number},
            minimum_rows=number,
        )
        await self.doors.send("router", "/v1/routes", body)

    async def verdict(self) -> None:
        taken = await self.doors.send("review", "/v1/queue/next", {})
        if taken.status_code != 200:
            return
        item = taken.json()["item_id"]
        verdict = self.chance.choice(("approved", "corrected", "rejected"))
        body = {"verdict": verdict, "answer": self.text(65_536)}
        reply = await self.doors.send("review", f"/v1/items/{item}/verdict", body)
        if reply.status_code == 200:
            self.verdicts.append(item)

    async def command(self) -> None:
        reason = {"reason": self.text(300)}
        await self.doors.send("dataset-builder", f"/v1/routes/{FREE}/datasets", reason)
        await self.doors.send(
            "router",
            f"/v1/routes/{FREE}/rollback",
            {"to": self.text(200), "because": self.text(300)},
        )


async def ready(doors: Doors) -> None:
    """The routes are known to all."""
    for body in (free_route(), factories.spec().model_dump(mode="json")):
        assert (await doors.send("router", "/v1/routes", body)).status_code == 201
    async with asyncio.timeout(180):
        for name in ("capture", "review", "dataset-builder", "evaluator"):
            while await doors.handled(name, "route-changed") < 2:
                await asyncio.sleep(0.1)


def ids_on(log: list[dict[str, Any]], field: str) -> Counter[str]:
    return Counter(event[field] for event in log)


@pytest.mark.faults
@pytest.mark.timeout(900)
async def test_whatever_is_accepted_is_digested_once(
    kind: str, new_database: Callable[[str], str], keys: dict[str, str], tmp_path: Path
) -> None:
    chance = random.Random(f"{kind} 7")
    text = fuzzer(chance)

    def answer() -> str:
        """An engine writes any character, but no half of one: its bytes are UTF-8."""
        return text(chance.choice((200, 400_000))).encode("utf-8", "replace").decode()

    with KINDS[kind](tmp_path / "broker") as broker:
        async with opened(broker.servers, new_database, keys, tmp_path, answer) as doors:
            await ready(doors)
            trial = Trial(doors, chance)
            for _ in range(ROUNDS):
                for step in (trial.capture_inference, trial.capture_feedback, trial.chat):
                    await step()
                for step in (trial.put_route, trial.verdict, trial.command):
                    await step()
            normal = {"route": FREE, "input": "hello", "answer": "hi", "client_id": "the-last"}
            assert (await doors.send("capture", "/v1/inferences", normal)).status_code == 202
            log = await doors.settle(broker.servers)
            assert await doors.parked() == dict.fromkeys(doors.services, 0)
            assert await doors.dead_letters() == {name: [] for name in doors.services}
    said = ids_on(log["inference-recorded"], "inference_id")
    assert set(trial.inferences) <= set(said) and set(said.values()) == {1}
    said = ids_on(log["review-completed"], "review_id")
    assert set(said) == set(trial.verdicts) and set(said.values()) <= {1}
    votes = ids_on(log["feedback-recorded"], "feedback_id")
    assert {name.partition(".")[0] for name in votes} == set(trial.feedback)
    assert set(votes.values()) <= {1}
    # enough passed of each kind, and enough was refused, for this to mean something
    assert min(len(trial.inferences), len(trial.feedback), len(trial.verdicts)) > ROUNDS // 3
    assert sum(count for (_, status), count in doors.statuses.items() if status >= 400) > ROUNDS


CONTROLS = {"outcome": "\x01" * 250_000}
HONEST = {"outcome": "x" * 1_000_000}
LARGE = {"outcome": "x" * 3_000_000}


async def test_the_named_cases_are_refused_or_by_reference(
    new_database: Callable[[str], str], keys: dict[str, str], tmp_path: Path
) -> None:
    """What no log would take, and a thousand inferences after it, each once on the log."""
    with KINDS["embedded"](tmp_path / "broker") as broker:
        async with opened(
            broker.servers, new_database, keys, tmp_path, lambda: "delivery"
        ) as doors:
            await ready(doors)
            for said in (CONTROLS, HONEST, LARGE):
                vote = said | {"inference_id": "inf_1", "route": FREE}
                reply = await doors.send("capture", "/v1/feedback", vote)
                assert reply.status_code == 422
                assert "outcome" in reply.json()["detail"]
            packed = gzip.compress(json.dumps(CONTROLS | {"inference_id": "inf_1"}).encode())
            assert len(packed) < 15_000
            reply = await doors.http.post(
                doors.urls["capture"] + "/v1/feedback",
                content=packed,
                headers={"content-encoding": "gzip"},
            )
            assert reply.status_code == 422
            prompts = free_route() | {"system_prompt": "x" * 1_500_000}
            assert (await doors.send("router", "/v1/routes", prompts)).status_code in (413, 422)
            prompts = free_route() | {"system_prompt": "x" * 100_000}
            refused = await doors.send("router", "/v1/routes", prompts)
            assert refused.status_code == 422 and "system_prompt" in refused.json()["detail"]
            large = {"route": FREE, "input": "x" * 1_500_000, "answer": "y"}
            reply = await doors.send("capture", "/v1/inferences", large)
            [by_reference] = reply.json()["inference_ids"]
            escaped = large | {"input": "\x01" * 250_000}  # 250 kB as UTF-8, 1.5 MB in an event
            reply = await doors.send("capture", "/v1/inferences", escaped)
            [escaped_id] = reply.json()["inference_ids"]
            for content in ("x" * 1_500_000, "\x01" * 1_500_000):
                asked = {"model": FREE, "messages": [{"role": "user", "content": content}]}
                reply = await doors.send("router", "/v1/chat/completions", asked)
                assert reply.status_code in (400, 413)
            for number in range(10):
                items = [
                    {"route": FREE, "input": "q", "answer": "a", "client_id": f"{number}-{each}"}
                    for each in range(100)
                ]
                await doors.send("capture", "/v1/inferences", {"inferences": items})
            log = await doors.settle(broker.servers)
            assert await doors.parked() == dict.fromkeys(doors.services, 0)
            assert await doors.dead_letters() == {name: [] for name in doors.services}
    events = {event["inference_id"]: event for event in log["inference-recorded"]}
    assert len(log["inference-recorded"]) == len(events) == 1002
    assert events[by_reference]["content"] and events[escaped_id]["content"]
    assert InferenceRecorded.model_validate(events[escaped_id]).messages == ()


async def test_the_control_without_bounds_reaches_the_last_net(
    keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the bound on `outcome` the outbox's own check stands alone; without both, nothing."""

    class Unbounded(SentFeedback):
        outcome: float | str | None = None

    monkeypatch.setattr("services.capture.intake.SentFeedback", Unbounded)
    parsing.together.cache_clear()
    with KINDS["embedded"](tmp_path / "broker") as broker:
        async with opened(
            broker.servers,
            lambda name: f"sqlite+aiosqlite:///{tmp_path}/{name}.db",
            keys,
            tmp_path,
            lambda: "delivery",
        ) as doors:
            await ready(doors)
            # The log counts what is compressed.
            chance = random.Random(8)
            noise = "".join(chance.choices(string.ascii_letters, k=1_500_000))
            vote = {"outcome": noise, "inference_id": "inf_1", "route": FREE}
            with pytest.raises(AssertionError, match="EventTooLarge"):
                await doors.send("capture", "/v1/feedback", vote)
            monkeypatch.setattr(outbox, "LARGEST_EVENT_BYTES", 10**9)
            assert (await doors.send("capture", "/v1/feedback", vote)).status_code == 202
            async with asyncio.timeout(90):
                while not (await doors.parked())["capture"]:
                    await asyncio.sleep(0.1)
