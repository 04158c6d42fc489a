"""An answer that an app reads along while a model writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.base import JsonObject, uuid7
from shared.rules import Bounds, Completion, Gathered, as_completion


class Piece(NamedTuple):
    text: str
    # The engine's entries of log-probabilities.
    tokens: Sequence[JsonObject]


@dataclass
class Live:
    """The pieces of one answer, between the engine and the app."""

    inference_id: str = field(default_factory=uuid7)
    # Done with the first piece: from then on no other model can answer.
    begun: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    # None ends it.
    pieces: asyncio.Queue[Piece | None] = field(default_factory=asyncio.Queue)
    _gathered: Gathered | None = None

    @property
    def has_begun(self) -> bool:
        return self._gathered is not None

    def give(self, gathered: Gathered) -> None:
        """Pass on the piece that came last."""
        self._gathered = gathered
        self.pieces.put_nowait(Piece(gathered.piece, gathered.tokens_of_piece))
        if not self.begun.done():
            self.begun.set_result(None)

    def so_far(self, latency_ms: float, bounds: Bounds) -> Completion:
        """Return what was given of an answer that will not end."""
        gathered = self._gathered or Gathered()
        gathered.finish_reason = None
        gathered.usage = gathered.usage or {"completion_tokens": len(gathered.tokens)}
        return as_completion(gathered.body, latency_ms, bounds)
