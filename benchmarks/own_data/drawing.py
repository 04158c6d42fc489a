"""Draws texts that differ: each part of a sentence comes from a list, and no text comes twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

Answer = TypeVar("Answer")


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
