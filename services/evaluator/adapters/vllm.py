"""The evaluation's vLLM, as the evaluator's Generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from schemas.base import Message
from services.evaluator.ports import SILENCE, AdapterUnfit, EngineAway, NoAnswer
from shared.rules import (
    ANYTHING,
    Completion,
    Form,
    Grammar,
    ModelNotServed,
    RequestRefused,
    Timeouts,
    VllmAway,
    VllmClient,
    VllmError,
    VllmFailed,
)

CONNECT_SECONDS = 5.0
# Statuses below 500 that time or an operator cures.
PASSING = (401, 403, 408, 429)


class VllmGenerator:
    """The shared client of vLLM; what it raises makes the job wait, fail or count an answer."""

    def __init__(self, url: str, api_key: str, timeout: float, connections: int) -> None:
        """Make a client: `timeout` in seconds, `connections` for questions in flight."""
        self.grammar = Grammar()
        self._client = VllmClient(
            url,
            Timeouts(answer=timeout, connect=CONNECT_SECONDS, admin=timeout),
            api_key=api_key,
            # Two more, so that loading and unloading wait for no question.
            connections=connections + 2,
        )

    async def see(self) -> None:
        """Note which engine answers. Raises EngineAway."""
        try:
            self.grammar.runs(await self._client.identity())
        except VllmError as error:
            raise self._away(error) or error from error

    async def load(self, adapter_id: str, folder: Path) -> None:
        """Load an adapter from an absolute folder. Raises AdapterUnfit where vLLM refuses it."""
        try:
            await self._client.load(adapter_id, folder)
        except VllmError as error:
            raise self._away(error) or AdapterUnfit(adapter_id, str(error)[:300]) from error

    async def unload(self, adapter_id: str) -> None:
        """Unload an adapter; it need not be loaded."""
        try:
            await self._client.unload(adapter_id)
        except VllmError as error:
            if away := self._away(error):
                raise away from error

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, form: Form = ANYTHING
    ) -> Completion:
        """Ask for one answer. Raises EngineAway, which makes the job wait, and NoAnswer where the
        engine was reached.

        A question that the engine refuses (too long for the model, say) counts as unanswered, and
        so as wrong. An engine that no longer serves the model restarted and forgot its adapters:
        the next attempt loads them again.
        """
        try:
            ask = partial(self._client.ask, model, messages, max_tokens)
            return await self.grammar.ask(form, ask)
        except ModelNotServed as error:
            raise EngineAway(self._client.url, f"it no longer serves {model}") from error
        except (RequestRefused, VllmAway, VllmFailed) as error:
            if away := self._away(error):
                raise away from error
            return SILENCE

    async def close(self) -> None:
        await self._client.close()

    def _away(self, error: VllmError) -> EngineAway | None:
        """Return what makes the job wait; nothing where waiting would not help."""
        match error:
            case VllmAway(reached=False):
                return EngineAway(self._client.url, str(error))
            case VllmAway():
                return NoAnswer(self._client.url, str(error))
            case VllmFailed() if error.code >= 500:
                return NoAnswer(self._client.url, f"status {error.code}")
            case VllmFailed() if error.code in PASSING:
                return EngineAway(self._client.url, f"status {error.code}")
            case _:
                return None
