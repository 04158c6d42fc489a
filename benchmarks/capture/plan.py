"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    inferences: int = 60_000  # to Ratchet and to the bare producer
    phoenix_inferences: int = 4_000  # it takes some ten seconds for these
    batch: int = 100
    turns: int = 3  # of both doors, a third of the inferences each
    connections: int = 8
    rate: float = 500.0
    seconds: float = 20.0

    @property
    def singles(self) -> int:
        return int(self.rate * self.seconds)
