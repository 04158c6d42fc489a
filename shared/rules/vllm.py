"""The client of vLLM: chat completions with logprobs, and adapters loaded while it runs."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic_core import from_json, to_json

from schemas.base import Confidence, JsonObject, Message
from shared.errors import RatchetError
from shared.rules.completion import FREE, Bounds, completion_request
from shared.rules.confidence import read_answer

AWAY = (httpx.HTTPError, asyncio.TimeoutError)
# Nobody was reached, so that nothing was asked.
UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout)
REFUSALS = (400, 413, 422)
# Retry-After in seconds; a date is not read.
WAIT = re.compile(r"[0-9]{1,5}")
# What vLLM answers, with status 400, when the name it should load is served already.
ALREADY_LOADED = "already been loaded"


@dataclass(frozen=True)
class Completion:
    """One answer at temperature 0, as the engine gave it."""

    answer: str
    confidence: Confidence
    # Natural logarithm: the sum over the tokens that spell the answer.
    logprob: float
    # Until the answer is parsed; what waits for the engine counts.
    latency_ms: float = 0.0
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    # OpenAI's entries of `logprobs.content`, the end token's among them.
    tokens: Sequence[JsonObject] = field(default=(), repr=False, compare=False)


class VllmError(RatchetError):
    """vLLM did not do what it was asked: each service says what follows from it."""


class VllmAway(VllmError):
    """Nobody answered, or not in time."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(type(cause).__name__)
        self.reached = not isinstance(cause, UNREACHED)


class VllmFailed(VllmError):
    """It answered with an error that is neither a refusal nor a missing model."""

    def __init__(self, code: int, detail: str, retry_after: int | None = None) -> None:
        """Make the error of an HTTP status; `retry_after` (seconds) is what the server said."""
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class RequestRefused(VllmError):
    """The request itself is at fault, for example too long for the model."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ModelNotServed(VllmError):
    """It does not hold that model: it restarted and forgot its adapters, or never loaded it."""

    def __init__(self, model: str, detail: str) -> None:
        super().__init__(detail)
        self.model = model
        self.detail = detail


class NotACompletion(VllmError):
    """Something answered that does not speak as vLLM does, or left out what must be there."""

    def __init__(self, cause: BaseException) -> None:
        why = str(cause) if type(cause) is ValueError else type(cause).__name__
        super().__init__(f"it is not an OpenAI-compatible completion with logprobs ({why})")


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for vLLM, in seconds."""

    answer: float
    connect: float
    # For lists, loading and unloading.
    admin: float


class VllmClient:
    """One client with one pool of connections, made when it is first used in the running loop.

    An adapter's name holds its digest, and it is loaded from a folder of its own: one name never
    has two contents. vLLM's prefix cache tells adapters apart by name and path alone
    (vllm/v1/core/kv_cache_utils.py, _gen_lora_extra_hash_keys) and would go on with what the old
    content computed. `load_inplace` is never sent: with it the adapter is read from the disk again
    at every step (vllm/lora/worker_manager.py, add_adapter).
    """

    def __init__(
        self,
        url: str,
        timeouts: Timeouts,
        api_key: str = "",
        connections: int = 256,
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._answering = httpx.Timeout(timeouts.answer, connect=timeouts.connect)
        self._administering = httpx.Timeout(timeouts.admin, connect=timeouts.connect)
        self._limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections
        )
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._client: httpx.AsyncClient | None = None

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
        bounds: Bounds = FREE,
        seconds: float | None = None,
    ) -> Completion:
        """Ask for one completion, for at most `seconds` (None: as long as any answer may take).

        To be cancelled closes the connection, by which vLLM knows to stop.
        """
        started = time.perf_counter()
        request = to_json(completion_request(model, messages, max_tokens, bounds))
        try:
            async with asyncio.timeout(seconds):
                body = await self._send(
                    "POST", "/v1/chat/completions", request, model, self._answering
                )
        except TimeoutError as error:
            raise VllmAway(error) from error
        try:
            return as_completion(body, (time.perf_counter() - started) * 1000)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise NotACompletion(error) from error

    async def models(self) -> frozenset[str]:
        """Return the names it serves now: the base model's and those of loaded adapters."""
        body = await self._send("GET", "/v1/models", None, "", self._administering)
        return frozenset(model["id"] for model in body["data"])

    async def load(self, adapter_id: str, folder: Path) -> None:
        """Load an adapter. What is loaded already counts as success.

        `folder` must be absolute, since vLLM looks for anything else on a model hub. Raises
        RequestRefused where vLLM cannot serve the adapter, ModelNotServed where it does not see
        the folder.
        """
        request = {"lora_name": adapter_id, "lora_path": str(folder)}
        try:
            await self._administer("/v1/load_lora_adapter", request, adapter_id)
        except RequestRefused as refused:
            if ALREADY_LOADED not in refused.detail:
                raise

    async def unload(self, adapter_id: str) -> None:
        """Unload an adapter. What is not loaded counts as success."""
        try:
            await self._administer("/v1/unload_lora_adapter", {"lora_name": adapter_id}, adapter_id)
        except (RequestRefused, ModelNotServed):
            pass

    async def count_tokens(self, model: str, text: str) -> int:
        """Return how many tokens a text takes, without those that begin or end a sequence."""
        request = {"model": model, "prompt": text, "add_special_tokens": False}
        body = await self._send("POST", "/tokenize", to_json(request), model, self._administering)
        try:
            return int(body["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise NotACompletion(error) from error

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()

    async def _administer(self, path: str, request: dict[str, str], adapter_id: str) -> None:
        await self._send("POST", path, to_json(request), adapter_id, self._administering)

    async def _send(
        self, method: str, path: str, content: bytes | None, model: str, timeout: httpx.Timeout
    ) -> JsonObject:
        """Send one request and return the parsed answer; `model` is named in the error."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self.url, limits=self._limits, headers=self._headers, trust_env=False
            )
        try:
            response = await self._client.request(method, path, content=content, timeout=timeout)
        except AWAY as error:
            raise VllmAway(error) from error
        if response.status_code == 200:
            return parsed(response)
        raise failure(response, model)


def as_completion(body: JsonObject, latency_ms: float) -> Completion:
    choice = body["choices"][0]
    usage = body.get("usage") or {}
    # Missing is not zero: without either nothing can be said of the answer.
    said, logprobs = choice["message"]["content"], choice["logprobs"]
    if said is None or logprobs is None:
        raise ValueError("no content" if said is None else "no logprobs")
    reading = read_answer(choice)
    return Completion(
        # PostgreSQL holds no NUL. What an app sends is refused for it; a model cannot be told.
        answer=said.replace("\0", "\ufffd"),
        confidence=reading.confidence,
        logprob=reading.logprob,
        latency_ms=latency_ms,
        finish_reason=choice.get("finish_reason") or "stop",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        tokens=logprobs.get("content") or (),
    )


def parsed(response: httpx.Response) -> JsonObject:
    """Return the body; nothing where it is plain text, as after loading and unloading."""
    try:
        body = from_json(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def failure(response: httpx.Response, model: str) -> VllmError:
    detail = error_detail(response)
    if response.status_code == 404:
        return ModelNotServed(model, detail)
    if response.status_code in REFUSALS:
        return RequestRefused(detail)
    wait = response.headers.get("retry-after", "")
    return VllmFailed(response.status_code, detail, int(wait) if WAIT.fullmatch(wait) else None)


def error_detail(response: httpx.Response) -> str:
    """Return what the server says in OpenAI's shape of an error, else the start of its text."""
    try:
        return str(from_json(response.content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:300]
