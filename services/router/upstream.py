"""The vLLM that serves, and how it may fail in the router's words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.base import Message
from shared.errors import Invalid, RatchetError, Retryable
from shared.rules import (
    Completion,
    ModelNotServed,
    RequestRefused,
    Timeouts,
    VllmAway,
    VllmClient,
    VllmError,
    VllmFailed,
)

CONNECT_SECONDS = 2.0
# Loading took 35 ms on a CPU; a GPU server compiles nothing either.
ADMIN_SECONDS = 30.0
# So that loading and unloading wait for no question.
ADMIN_CONNECTIONS = 4


class UpstreamAway(Retryable):
    """Nobody answered: not a fault of any model."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"the model server does not answer ({cause}); it may be starting: send the request"
            " again"
        )


class UpstreamFailed(Retryable):
    """It answered, but not with a completion."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(
            f"the model server failed with {code}: {detail[:300]}; send the request again"
        )


class ModelMissing(RatchetError):
    """The server does not hold that model: it restarted, or never loaded the adapter."""

    status = 503
    retry_after = 2

    def __init__(self, model: str) -> None:
        super().__init__(
            f"the model server does not serve '{model}' now; it is being loaded: send the request"
            " again"
        )


class UpstreamRefused(Invalid):
    """The request itself is at fault, for example too long for the model."""

    status = 400

    def __init__(self, detail: str) -> None:
        super().__init__(f"the model refused the request: {detail[:500]}")


class AdapterUnfit(RatchetError):
    """The adapter cannot be served, however often one tries."""

    def __init__(self, adapter_id: str, why: str) -> None:
        super().__init__(f"{adapter_id} cannot be served: {why}")


class Upstream:
    """The shared client of vLLM; what it raises is told as one of the errors above."""

    def __init__(self, url: str, timeout: float, at_once: int) -> None:
        """Make a client: `timeout` in seconds, `at_once` for questions in flight."""
        self.client = VllmClient(
            url,
            Timeouts(timeout, CONNECT_SECONDS, ADMIN_SECONDS),
            connections=at_once + ADMIN_CONNECTIONS,
        )

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, choices: Sequence[str] = ()
    ) -> Completion:
        """Ask for one completion; `choices` are the only answers allowed, none of them any."""
        try:
            return await self.client.ask(model, messages, max_tokens, choices)
        except VllmError as error:
            raise told(error) from error

    async def models(self) -> frozenset[str]:
        """Return the names vLLM serves now, the base model's among them."""
        try:
            return await self.client.models()
        except VllmError as error:
            raise told(error) from error

    async def load(self, adapter_id: str, folder: Path) -> None:
        """Load an adapter from an absolute folder that vLLM sees too."""
        try:
            await self.client.load(adapter_id, folder)
        except RequestRefused as error:
            raise AdapterUnfit(adapter_id, str(told(error))) from error
        except ModelNotServed as error:
            raise AdapterUnfit(
                adapter_id,
                f"vLLM finds no adapter at {folder}; does it see the router's"
                " ROUTER_ADAPTER_CACHE?",
            ) from error
        except VllmError as error:
            raise told(error) from error

    async def unload(self, adapter_id: str) -> None:
        """Unload an adapter; it need not be loaded."""
        try:
            await self.client.unload(adapter_id)
        except VllmError as error:
            raise told(error) from error

    async def count_tokens(self, model: str, text: str) -> int:
        """Return how many tokens a text takes."""
        try:
            return await self.client.count_tokens(model, text)
        except VllmError as error:
            raise told(error) from error

    async def close(self) -> None:
        await self.client.close()


def told(error: VllmError) -> RatchetError:
    """Return what an app is told of an error of the client."""
    match error:
        case VllmAway():
            return UpstreamAway(str(error))
        case ModelNotServed():
            return ModelMissing(error.model)
        case RequestRefused():
            return UpstreamRefused(error.detail)
        case VllmFailed():
            return UpstreamFailed(error.code, error.detail)
        case _:
            return UpstreamFailed(200, str(error))
