"""A judge model over HTTP: any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from schemas.base import Message
from services.evaluator.adapters.judge import ChatJudge
from services.evaluator.pairs import judge
from services.evaluator.ports import JudgeAway
from services.evaluator.settings import Settings

QUESTION = (Message(role="user", content="Summarise this."),)


class Server:
    """Prefers the longer answer, and keeps what it was asked."""

    def __init__(self, status: int = 200, body: object = None) -> None:
        self.status = status
        self.body = body
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.status != 200 or self.body is not None:
            return httpx.Response(self.status, json=self.body)
        asked = json.loads(request.content)["messages"][-1]["content"]
        a, b = asked.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        said = "A" if len(a) > len(b) else " b."
        return httpx.Response(200, json={"choices": [{"message": {"content": said}}]})


def model_at(server: Server) -> ChatJudge:
    model = ChatJudge("http://judge/v1/", "judge-8b", "k1", 5.0)
    model._client = httpx.AsyncClient(
        transport=httpx.MockTransport(server), headers=model._client.headers
    )
    return model


async def test_it_is_asked_as_any_client_asks() -> None:
    server = Server()
    model = model_at(server)
    assert await judge(model, QUESTION, "short", "much longer") == "right"
    assert await judge(model, QUESTION, "much longer", "short") == "left"
    first = server.requests[0]
    assert str(first.url) == "http://judge/v1/chat/completions"
    assert first.headers["authorization"] == "Bearer k1"
    body = json.loads(first.content)
    assert (body["model"], body["temperature"]) == ("judge-8b", 0)
    # Nothing that only one server knows.
    assert body.keys() == {"model", "messages", "max_tokens", "temperature"}
    await model.close()


@pytest.mark.parametrize(
    ("status", "body"), [(401, {}), (500, {}), (200, {}), (200, {"choices": []}), (200, [])]
)
async def test_what_is_no_answer_is_said_once(status: int, body: object) -> None:
    model = model_at(Server(status, body))
    with pytest.raises(JudgeAway, match="EVALUATOR_JUDGE_URL"):
        await judge(model, QUESTION, "one", "two")


async def test_a_judge_that_says_nothing_finds_a_tie() -> None:
    silent = {"choices": [{"message": {"content": None}}]}
    assert await judge(model_at(Server(200, silent)), QUESTION, "one", "two") == "tie"


def test_its_key_is_shown_nowhere_and_it_has_a_name(tmp_path: Path) -> None:
    needed = {
        "database_url": f"sqlite+aiosqlite:///{tmp_path}/e.db",
        "artifacts_url": f"file://{tmp_path}",
        "keys_file": str(tmp_path / "keys.json"),
        "judge_url": "http://judge/v1",
    }
    settings = Settings(**needed, judge_model="judge-8b", judge_api_key="hidden-key")
    assert "hidden-key" not in repr(settings)
    with pytest.raises(ValueError, match="needs EVALUATOR_JUDGE_MODEL"):
        Settings(**needed)
