"""A judge model behind any OpenAI-compatible API."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from schemas.base import Message
from services.evaluator.ports import JudgeAway


class ChatJudge:
    def __init__(self, url: str, model: str, api_key: str, timeout: float) -> None:
        """Make a client: `url` up to /v1, `timeout` in seconds."""
        self.name = model
        self._url = f"{url.rstrip('/')}/chat/completions"
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout)

    async def say(self, messages: Sequence[Message], max_tokens: int) -> str:
        """Ask for the most probable answer. Raises JudgeAway."""
        body = {
            "model": self.name,
            "messages": [{"role": turn.role, "content": turn.content} for turn in messages],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        try:
            answer = await self._client.post(self._url, json=body)
            answer.raise_for_status()
            said = answer.json()["choices"][0]["message"]["content"]
        except httpx.HTTPStatusError as error:
            raise JudgeAway(self._url, f"status {error.response.status_code}") from error
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise JudgeAway(self._url, type(error).__name__) from error
        # Some leave it out where they refuse to say anything.
        return said if isinstance(said, str) else ""

    async def close(self) -> None:
        await self._client.aclose()
