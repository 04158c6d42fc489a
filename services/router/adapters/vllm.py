"""vLLM over HTTP: completions with logprobs, and adapters loaded and unloaded while it runs.

Never `load_inplace`, and never one name with two contents: both serve stale adapters (reliability
page, D2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from pydantic_core import from_json, to_json

from schemas.base import Message
from services.router.ports import (
    AdapterUnfit,
    ModelMissing,
    Reply,
    UpstreamAway,
    UpstreamFailed,
    UpstreamRefused,
)
from shared.rules.completion import completion_request
from shared.rules.confidence import read_confidence

CONNECT_SECONDS = 2.0
ADMIN_SECONDS = 30.0  # loading took 35 ms on a CPU; a GPU server compiles nothing either
AWAY = (httpx.TransportError, asyncio.TimeoutError)


class Vllm:
    """One client with one pool of connections, made when first used (it belongs to the running
    loop).
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._timeout = httpx.Timeout(timeout, connect=CONNECT_SECONDS)
        self._client: httpx.AsyncClient | None = None

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
    ) -> Reply:
        body = await self._post(
            "/v1/chat/completions", completion_request(model, messages, max_tokens, choices), model
        )
        try:
            return as_reply(body)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UpstreamFailed(
                200,
                f"it is not an OpenAI-compatible completion with logprobs ({type(error).__name__})",
            ) from error

    async def models(self) -> frozenset[str]:
        body = await self._answer("GET", "/v1/models", None, "", ADMIN_SECONDS)
        return frozenset(model["id"] for model in body["data"])

    async def load(self, adapter_id: str, folder: Path) -> None:
        """`folder` is absolute. Loading what is loaded already is a success: the content behind an
        adapter's name never changes.
        """
        try:
            await self._post(
                "/v1/load_lora_adapter",
                {"lora_name": adapter_id, "lora_path": str(folder)},
                adapter_id,
                ADMIN_SECONDS,
            )
        except UpstreamRefused as error:
            if "already been loaded" not in str(error):
                raise AdapterUnfit(adapter_id, str(error)) from error
        except ModelMissing as error:
            raise AdapterUnfit(
                adapter_id,
                f"vLLM finds no adapter at {folder}; does it see the router's"
                " ROUTER_ADAPTER_CACHE?",
            ) from error

    async def unload(self, adapter_id: str) -> None:
        try:
            await self._post(
                "/v1/unload_lora_adapter", {"lora_name": adapter_id}, adapter_id, ADMIN_SECONDS
            )
        except (UpstreamRefused, ModelMissing):
            pass  # it was not loaded

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()

    async def _post(
        self, path: str, body: dict[str, Any], model: str, timeout: float | None = None
    ) -> Any:
        return await self._answer("POST", path, to_json(body), model, timeout)

    async def _answer(
        self, method: str, path: str, content: bytes | None, model: str, timeout: float | None
    ) -> Any:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
            self._client = httpx.AsyncClient(
                base_url=self.url, timeout=self._timeout, limits=limits, trust_env=False
            )
        try:
            response = await self._client.request(
                method,
                path,
                content=content,
                headers={"content-type": "application/json"},
                timeout=(
                    httpx.Timeout(timeout, connect=CONNECT_SECONDS) if timeout else self._timeout
                ),
            )
        except AWAY as error:
            raise UpstreamAway(error) from error
        if response.status_code == 200:
            return _parsed(response)
        raise _failure(response, model)


def as_reply(body: dict[str, Any]) -> Reply:
    choice = body["choices"][0]
    usage = body.get("usage") or {}
    return Reply(
        answer=choice["message"]["content"] or "",
        confidence=read_confidence(choice),
        finish_reason=choice.get("finish_reason") or "stop",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
    )


def _parsed(response: httpx.Response) -> Any:
    try:
        return from_json(response.content)
    except ValueError:
        return response.text  # load and unload answer in plain text


def _failure(response: httpx.Response, model: str) -> Exception:
    detail = _detail(response)
    if response.status_code == 404:
        return ModelMissing(model)
    if response.status_code in (400, 413, 422):
        return UpstreamRefused(detail)
    return UpstreamFailed(response.status_code, detail)


def _detail(response: httpx.Response) -> str:
    try:
        return str(from_json(response.content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
