"""vLLM over its OpenAI-compatible HTTP API, as the evaluator's Generator."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from schemas.base import Confidence, Message
from services.evaluator.ports import AdapterUnfit, EngineAway, Reply
from shared.rules.completion import completion_request
from shared.rules.confidence import answer_tokens, read_confidence

SILENCE = Reply("", Confidence(score=0.0, min_logprob=0.0, first_margin=0.0, tokens=0), 0.0, 0.0)


class VllmGenerator:
    """Adapters are named by their digest and loaded from a folder of their own, so no name ever has
    two contents.
    """

    def __init__(
        self, url: str, api_key: str = "", timeout: float = 120.0, connections: int = 16
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._client = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(timeout, connect=5.0),
            trust_env=False,
            limits=httpx.Limits(max_connections=connections + 2),
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
        )

    async def load(self, adapter_id: str, folder: Path) -> None:
        """`folder` is absolute: vLLM would look for anything else on a model hub.

        `load_inplace` stays unset: with it the disk is read again at every step (reliability page,
        D2).
        """
        response = await self._post(
            "/v1/load_lora_adapter", {"lora_name": adapter_id, "lora_path": str(folder)}
        )
        if response.status_code >= 400 and "already been loaded" not in response.text:
            raise AdapterUnfit(adapter_id, _detail(response))

    async def unload(self, adapter_id: str) -> None:
        await self._post("/v1/unload_lora_adapter", {"lora_name": adapter_id})

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
    ) -> Reply:
        """A question the engine refuses (too long for the model, say) counts as unanswered, thus
        wrong.
        """
        started = time.perf_counter()
        response = await self._post(
            "/v1/chat/completions", completion_request(model, messages, max_tokens, choices)
        )
        if (
            response.status_code == 404
        ):  # it restarted and forgot its adapters: the next attempt loads them again
            raise EngineAway(self.url, f"it no longer serves {model}")
        return (
            _reply(response.json(), 1000 * (time.perf_counter() - started))
            if response.status_code == 200
            else SILENCE
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            response = await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            raise EngineAway(self.url, type(error).__name__) from error
        if response.status_code >= 500 or response.status_code in (401, 403, 408, 429):
            raise EngineAway(self.url, f"{response.status_code}: {_detail(response)}")
        return response


def _reply(completion: dict[str, Any], latency_ms: float) -> Reply:
    choice = completion["choices"][0]
    logprob = math.fsum(min(token["logprob"], 0.0) for token in answer_tokens(choice))
    return Reply(
        (choice["message"].get("content") or "").strip(),
        read_confidence(choice),
        logprob,
        latency_ms,
    )


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
