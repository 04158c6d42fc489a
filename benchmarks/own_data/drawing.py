"""Draws texts that differ: each part of a sentence comes from a list, and no text comes twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Phrases:
    """What the messages of a file are put together from."""

    # Ways to ask, by label.
    asked: Mapping[str, Sequence[str]]
    openings: Sequence[str]
    asides: Sequence[str]
    closings: Sequence[str]
    slots: dict[str, tuple[str, ...]]

    def rows(self, rows: int, seed: int) -> Iterator[tuple[str, str]]:
        """Yield so many messages with their labels, the labels in turn."""
        draw = random.Random(seed)
        labels = list(self.asked)

        def make(number: int) -> tuple[str, str]:
            label = labels[number % len(labels)]
            ends = draw.choice(self.asked[label]), draw.choice(self.asides)
            template = "".join((*ends, draw.choice(self.closings)))
            return draw.choice(self.openings) + filled(draw, template, self.slots), label

        return distinct(rows, make)


def filled(draw: random.Random, template: str, slots: dict[str, tuple[str, ...]]) -> str:
    """Fill each `{slot}` of a template with one of its words."""
    return template.format_map({name: draw.choice(words) for name, words in slots.items()})


def distinct(rows: int, make: Callable[[int], tuple[str, Answer]]) -> Iterator[tuple[str, Answer]]:
    """Yield so many rows with different texts; `make` gets the number of the row."""
    seen: set[str] = set()
    while len(seen) < rows:
        text, answer = make(len(seen))
        if text not in seen:
            seen.add(text)
            yield text, answer
