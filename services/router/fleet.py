"""Which adapters this router has proven to be loaded in vLLM, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.base import JsonObject

# Failed attempts to load a challenger.
GIVE_UP_AFTER = 3


class Fleet:
    """What is known of one running vLLM.

    Proof is kept in memory on purpose: it is void as soon as that vLLM no longer lists the name.
    """

    def __init__(self) -> None:
        self.up = False
        self.base_served = False
        self.loaded: frozenset[str] = frozenset()
        self._proven: set[str] = set()
        self.trouble: dict[str, str] = {}
        self._strikes: dict[str, int] = {}
        self._asking: Counter[str] = Counter()
        # What the engine leaves out of its answers, while it does.
        self.unfit: str | None = None

    @contextmanager
    def asked(self, adapter_id: str) -> Iterator[None]:
        """Count a question that an adapter has, for as long as it has it."""
        self._asking[adapter_id] += 1
        try:
            yield
        finally:
            self._asking[adapter_id] -= 1
            if not self._asking[adapter_id]:
                del self._asking[adapter_id]

    def asking(self, adapter_id: str) -> int:
        """Return how many questions an adapter has and has not answered yet."""
        return self._asking[adapter_id]

    def serving(self, adapter_id: str) -> bool:
        return adapter_id in self._proven

    def saw(self, names: frozenset[str], base_model: str) -> None:
        """Note what vLLM listed: an adapter that is missing there must be proven again."""
        self.up = True
        self.base_served = base_model in names
        self.loaded = names - {base_model}
        self._proven &= names

    def away(self) -> None:
        """Note that vLLM does not answer.

        Nothing is forgotten: if it restarted, its next list has no adapters, and `saw` forgets.
        """
        self.up = False

    def prove(self, adapter_id: str) -> None:
        self._proven.add(adapter_id)
        self.trouble.pop(adapter_id, None)
        self._strikes.pop(adapter_id, None)

    def blame(self, adapter_id: str, why: str) -> int:
        """Note that the adapter itself is at fault; return how many times by now."""
        self._proven.discard(adapter_id)
        self.trouble[adapter_id] = why
        self._strikes[adapter_id] = self._strikes.get(adapter_id, 0) + 1
        return self._strikes[adapter_id]

    def hopeless(self, adapter_id: str) -> bool:
        return self._strikes.get(adapter_id, 0) >= GIVE_UP_AFTER

    def forget(self, adapter_id: str) -> None:
        self._proven.discard(adapter_id)

    def report(self) -> JsonObject:
        return {
            "vllm": "up" if self.up else "away",
            "base_model_served": self.base_served,
            "adapters_loaded": sorted(self.loaded),
            "adapters_proven": sorted(self._proven),
            "adapter_trouble": dict(self.trouble),
            "answers_unfit": self.unfit,
        }
