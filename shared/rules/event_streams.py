"""An answer that comes in pieces, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, field

from pydantic_core import from_json

from schemas.base import JsonObject
from shared.rules.reasoning import may_be_thought, thought_in, tokens_of_end

PREFIX = b"data:"
END = b"[DONE]"


async def events_of(chunks: AsyncIterable[bytes]) -> AsyncGenerator[JsonObject]:
    """Yield the objects of a stream, up to its end. Raises ValueError for what is no JSON object.

    An object stands on one line, as OpenAI and vLLM write it.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line.startswith(PREFIX):
                continue
            said = line.removeprefix(PREFIX).strip()
            if said == END:
                return
            event = from_json(said)
            if not isinstance(event, dict):
                raise ValueError("an event is no object")  # noqa: TRY004 - as other bad JSON
            yield event


@dataclass
class Gathered:
    """What has come of one answer so far; a thought before it is no piece of it."""

    # The piece that came last, and its entries of log-probabilities.
    piece: str = ""
    tokens_of_piece: list[JsonObject] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tokens: list[JsonObject] = field(default_factory=list)
    finish_reason: str | None = None
    usage: JsonObject | None = None
    thought: list[str] = field(default_factory=list)
    # What came before the first piece.
    _held: str = ""

    def add(self, event: JsonObject) -> bool:
        """Take in an event; say whether it brought a piece of the answer."""
        self.usage = event.get("usage") or self.usage
        if not event.get("choices"):
            return False
        choice = event["choices"][0]
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        # PostgreSQL holds no NUL, and what is recorded is what was given.
        delta = choice["delta"]
        self.thought.append(delta.get("reasoning") or delta.get("reasoning_content") or "")
        self.piece = (delta.get("content") or "").replace("\0", "\ufffd")
        self.tokens_of_piece = (choice.get("logprobs") or {}).get("content") or []
        self.tokens += self.tokens_of_piece
        if not self.text:
            self._begin()
        if self.piece:
            self.text.append(self.piece)
        return bool(self.piece)

    def _begin(self) -> None:
        """Hold back what may be a thought: an app would read it as the answer."""
        self._held += self.piece
        first, self.piece = self._held, ""
        if self.finish_reason is None and may_be_thought(first):
            return
        found = thought_in(first) if may_be_thought(first[:1]) else None
        if found:
            self.thought.append(found[0])
            self.piece = found[1]
            self.tokens_of_piece = tokens_of_end(self.tokens, self.piece)
        else:
            self.piece = first
        self._held = ""

    @property
    def body(self) -> JsonObject:
        """Return it in the shape of an answer that came at once."""
        was_cut = self.finish_reason is None
        logprobs = {"content": self.tokens} if self.tokens or was_cut else None
        message = {"content": "".join(self.text), "reasoning": "".join(self.thought)}
        choice = {
            "message": message,
            "logprobs": logprobs,
            "finish_reason": "length" if was_cut else self.finish_reason,
        }
        return {"choices": [choice], "usage": self.usage}
