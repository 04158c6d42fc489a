"""The client of vLLM: chat completions with logprobs, and adapters loaded while it runs."""

from __future__ import annotations

import time
from asyncio import timeout
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from pydantic_core import from_json, to_json
from yarl import URL

from schemas.base import JsonObject, Message
from shared.rules.completion import FREE, Bounds, completion_request
from shared.rules.engine_answers import Completion, as_completion
from shared.rules.engine_identity import identity_of
from shared.rules.event_streams import Gathered, events_of
from shared.rules.questions import Questions
from shared.rules.vllm_errors import (
    ModelNotServed,
    NotACompletion,
    RequestRefused,
    VllmAway,
    VllmFailed,
    error_detail,
    failure,
)

HTTP_OK = 200
AWAY = (ClientError, TimeoutError)
# Seconds that an idle connection is kept: vLLM closes it after 5
# (vllm/envs.py, VLLM_HTTP_TIMEOUT_KEEP_ALIVE), and a question must not meet that.
IDLE_SECONDS = 4.0
INTERNAL_ERROR = 500
NOT_IMPLEMENTED = 501
BROKE_OFF = "it broke off in the middle of an answer"
# What vLLM answers, with status 400, when the name it should load is served already.
ALREADY_LOADED = "already been loaded"


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for vLLM, in seconds."""

    answer: float
    connect: float
    # For lists, loading and unloading.
    admin: float


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer in pieces."""

    # Seconds until its first piece.
    first: float
    # Of the whole, by `time.monotonic`.
    deadline: float


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
        self._timeouts = timeouts
        self._connections = connections
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._chat = URL(f"{self.url}/v1/chat/completions")
        self._session: ClientSession | None = None
        self._questions = Questions(self._chat, self._headers, timeouts.connect, IDLE_SECONDS)

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
        longest = self._timeouts.answer if seconds is None else min(seconds, self._timeouts.answer)
        try:
            answer = await self._questions.ask(request, longest)
        except (OSError, TimeoutError) as error:
            raise VllmAway(error) from error
        if answer.status != HTTP_OK:
            raise failure(answer.status, answer.body, answer.retry_after, model)
        body = parsed(answer.body)
        try:
            return as_completion(body, (time.perf_counter() - started) * 1000, bounds)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise NotACompletion(error) from error

    async def ask_live(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
        bounds: Bounds,
        patience: Patience,
        give: Callable[[Gathered], None],
    ) -> Completion:
        """Ask for one completion, and `give` what has come of it with each piece.

        Raises what `ask` does, and VllmFailed where the engine breaks off in the middle.
        """
        started = time.perf_counter()
        request = completion_request(model, messages, max_tokens, bounds)
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        gathered = Gathered()
        try:
            async with (
                timeout(patience.first) as limit,
                aclosing(self._events(to_json(request), model)) as events,
            ):
                async for event in events:
                    if "error" in event:
                        raise VllmFailed(500, error_detail(to_json(event)))
                    if gathered.add(event):
                        limit.reschedule(patience.deadline)
                        give(gathered)
            if gathered.finish_reason is None:
                raise VllmFailed(502, BROKE_OFF)
            return as_completion(gathered.body, (time.perf_counter() - started) * 1000, bounds)
        except AWAY as error:
            if gathered.text and not isinstance(error, TimeoutError):
                raise VllmFailed(502, BROKE_OFF) from error
            raise VllmAway(error) from error
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise NotACompletion(error) from error

    async def _events(self, content: bytes, model: str) -> AsyncGenerator[JsonObject]:
        limits = ClientTimeout(total=None, sock_connect=self._timeouts.connect)
        async with self._open().post(
            self._chat, data=content, timeout=limits, allow_redirects=False
        ) as response:
            if response.status != 200:
                said = await response.read()
                raise failure(response.status, said, response.headers.get("retry-after", ""), model)
            async with aclosing(events_of(response.content.iter_any())) as events:
                async for event in events:
                    yield event

    async def models(self) -> frozenset[str]:
        """Return the names it serves now: the base model's and those of loaded adapters."""
        body = await self._administer("GET", "/v1/models", None, "")
        return frozenset(model["id"] for model in body["data"])

    async def identity(self) -> str:
        """Return what tells engines apart that answer differently. Raises VllmError where it cannot
        say now.
        """
        return await identity_of(self._told)

    async def _told(self, method: str, path: str, request: JsonObject | None) -> JsonObject:
        """Return what an engine says of itself: nothing where it has no such page or refuses."""
        try:
            return await self._administer(method, path, request, "")
        except (ModelNotServed, RequestRefused):
            return {}
        except VllmFailed as error:
            # What is broken or busy says it later.
            if error.code >= INTERNAL_ERROR and error.code != NOT_IMPLEMENTED:
                raise
            return {}

    async def load(self, adapter_id: str, folder: Path) -> None:
        """Load an adapter. What is loaded already counts as success.

        `folder` must be absolute, since vLLM looks for anything else on a model hub. Raises
        RequestRefused where vLLM cannot serve the adapter, ModelNotServed where it does not see
        the folder.
        """
        request = {"lora_name": adapter_id, "lora_path": str(folder)}
        try:
            await self._administer("POST", "/v1/load_lora_adapter", request, adapter_id)
        except RequestRefused as refused:
            if ALREADY_LOADED not in refused.detail:
                raise

    async def unload(self, adapter_id: str) -> None:
        """Unload an adapter. What is not loaded counts as success."""
        try:
            request = {"lora_name": adapter_id}
            await self._administer("POST", "/v1/unload_lora_adapter", request, adapter_id)
        except (RequestRefused, ModelNotServed):
            pass

    async def count_tokens(self, model: str, text: str) -> int:
        """Return how many tokens a text takes, without those that begin or end a sequence."""
        request = {"model": model, "prompt": text, "add_special_tokens": False}
        body = await self._administer("POST", "/tokenize", request, model)
        try:
            return int(body["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise NotACompletion(error) from error

    async def close(self) -> None:
        self._questions.close()
        if self._session:
            await self._session.close()

    async def _administer(
        self, method: str, path: str, request: JsonObject | None, model: str
    ) -> JsonObject:
        content = None if request is None else to_json(request)
        url = URL(f"{self.url}{path}")
        return await self._send(method, url, content, model, self._timeouts.admin)

    async def _send(
        self, method: str, url: URL, content: bytes | None, model: str, seconds: float
    ) -> JsonObject:
        """Send one request and return the parsed answer; `model` is named in the error."""
        limits = ClientTimeout(total=seconds, sock_connect=self._timeouts.connect)
        try:
            async with self._open().request(
                method, url, data=content, timeout=limits, allow_redirects=False
            ) as response:
                said = await response.read()
        except AWAY as error:
            raise VllmAway(error) from error
        if response.status == HTTP_OK:
            return parsed(said)
        raise failure(response.status, said, response.headers.get("retry-after", ""), model)

    def _open(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=self._connections, keepalive_timeout=IDLE_SECONDS),
                cookie_jar=DummyCookieJar(),
                headers=self._headers,
                # Compressing what comes over loopback would cost more than it saves.
                skip_auto_headers=("accept-encoding", "user-agent"),
            )
        return self._session


def parsed(said: bytes) -> JsonObject:
    """Return the body; nothing where it is plain text, as after loading and unloading."""
    try:
        body = from_json(said)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
