"""The vLLM that serves, and how it may fail in the router's words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from schemas.base import Message
from services.router.live import Live
from shared.errors import Invalid, RatchetError, Retryable
from shared.rules import (
    FREE,
    TOO_LONG,
    Bounds,
    Completion,
    Form,
    Grammar,
    ModelNotServed,
    Patience,
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


class UpstreamSilent(UpstreamAway):
    """Somebody was asked, and did not answer in time, or broke off: maybe a fault of the model."""

    def __init__(self, cause: str) -> None:
        Retryable.__init__(
            self,
            f"the model server was asked and gave no answer in time ({cause}): send the request"
            " again",
        )


class UpstreamBusy(RatchetError):
    """The model server takes no more at the moment."""

    status = 429

    def __init__(self, seconds: int | None) -> None:
        super().__init__("the model server takes no more requests now: send this one again later")
        self.retry_after = seconds or 1


class UpstreamUnfit(Retryable):
    """It answered without what an answer must have: missing is not zero."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the model server answers, and {why}; `ratchet status` and /health/ready say so, too:"
            " ROUTER_VLLM_URL must name a vLLM whose parsers leave the answer its text"
        )


class UpstreamFailed(Retryable):
    """It answered, but not with a completion."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(
            f"the model server does not accept the router's credentials ({code}): that is ours to"
            " mend, and no fault of this key"
            if code in (401, 403)
            else f"the model server failed with {code}: {detail[:300]}; send the request again"
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


class ContextTooLong(UpstreamRefused):
    """The question does not fit into the model's context."""


class AdapterUnfit(RatchetError):
    """The adapter cannot be served, however often one tries."""

    def __init__(self, adapter_id: str, why: str) -> None:
        super().__init__(f"{adapter_id} cannot be served: {why}")


class Upstream:
    """The shared client of vLLM; what it raises is told as one of the errors above."""

    def __init__(self, url: str, timeout: float, at_once: int) -> None:
        """Make a client: `timeout` in seconds, `at_once` for questions in flight."""
        self.grammar = Grammar()
        self.client = VllmClient(
            url,
            Timeouts(timeout, CONNECT_SECONDS, ADMIN_SECONDS),
            connections=at_once + ADMIN_CONNECTIONS,
        )

    async def ask(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
        bounds: Bounds = FREE,
        seconds: float | None = None,
    ) -> Completion:
        """Ask for one completion, for at most `seconds`."""
        try:
            return await self.client.ask(model, messages, max_tokens, bounds, seconds)
        except VllmError as error:
            raise told(error) from error

    async def ask_in_form(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
        form: Form,
        seconds: float | None = None,
    ) -> Completion:
        """Ask for one completion, held to a form as far as the engine can."""
        ask = partial(self._ask_by, model, messages, max_tokens, seconds)
        try:
            return await self.grammar.ask(form, ask)
        except VllmError as error:
            raise told(error) from error

    async def _ask_by(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
        seconds: float | None,
        bounds: Bounds,
    ) -> Completion:
        return await self.client.ask(model, messages, max_tokens, bounds, seconds)

    async def ask_live(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
        bounds: Bounds,
        patience: Patience,
        live: Live,
    ) -> Completion:
        """Ask for one completion, and pass it on as it comes."""
        try:
            return await self.client.ask_live(
                model, messages, max_tokens, bounds, patience, live.give
            )
        except VllmError as error:
            raise told(error) from error

    async def models(self) -> frozenset[str]:
        """Return the names vLLM serves now, the base model's among them.

        Which engine answers is noted, too: a calibration holds for one of them.
        """
        try:
            self.grammar.runs(await self.client.identity())
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
        case VllmAway(reached=True):
            found: RatchetError = UpstreamSilent(str(error))
        case VllmAway():
            found = UpstreamAway(str(error))
        case ModelNotServed():
            found = ModelMissing(error.model)
        case RequestRefused():
            too_long = TOO_LONG.search(error.detail)
            found = (ContextTooLong if too_long else UpstreamRefused)(error.detail)
        case VllmFailed(code=429):
            found = UpstreamBusy(error.retry_after)
        case VllmFailed():
            found = UpstreamFailed(error.code, error.detail)
        case _:
            found = UpstreamUnfit(str(error))
    return found
