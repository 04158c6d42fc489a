"""Text as reviewers see it: what hides or reorders other text is shown by its code point."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.answers import label_of
from schemas.route import RouteSpec

# Rendered as nothing though Unicode files them under letters and symbols: Hangul fillers, the empty
# Braille pattern.
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
# Only these can be hidden: looking at each character of a long text takes seconds.
NOT_PLAIN = re.compile(r"[^\n\t\r\x20-\x7e]")
# a, c, r, s approve, correct, reject, skip; u is left free.
KEYS = "1234567890bdefghijklmnopqtvwxyz"


@dataclass(frozen=True)
class Segment:
    """Plain text, or one mark: the code point of a hidden character, and its name."""

    text: str
    name: str | None = None


@dataclass(frozen=True)
class LabelKey:
    """A label to correct to, and the key that chooses it."""

    label: str
    key: str | None
    is_models: bool
    description: str | None


def segments(text: str) -> list[Segment]:
    """Split text into plain parts and marks."""
    parts: list[Segment] = []
    begin = 0
    for found in NOT_PLAIN.finditer(text):
        index = found.start()
        if is_hidden(text, index):
            char = text[index]
            parts += [Segment(text[begin:index])] if begin < index else []
            parts.append(Segment(f"U+{ord(char):04X}", unicodedata.name(char, "CONTROL CHARACTER")))
            begin = index + 1
    return parts + ([Segment(text[begin:])] if begin < len(text) else [])


def is_hidden(text: str, index: int) -> bool:
    char = text[index]
    # Zero-width joiner, emoji presentation: honest inside an emoji, hidden anywhere else.
    if char in "\u200d\ufe0f":
        return not is_symbol(text[index - 1 : index])
    return (
        unicodedata.category(char) in ("Cf", "Cc", "Co", "Cn", "Cs")
        or char in BLANK
        or is_variation(char)
    )


def is_symbol(char: str) -> bool:
    """Say whether emoji sequences are made of it: symbols, skin tones, presentation selectors,
    key-cap digits.
    """
    return char != "" and (
        unicodedata.category(char) in ("So", "Sk", "Sm") or char in "\ufe0f0123456789#*"
    )


def is_variation(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def label_keys(spec: RouteSpec, model_answer: str) -> Sequence[LabelKey]:
    """Give the first 31 labels a key of their own; the others are found by typing."""
    keys = [*KEYS, *([None] * len(spec.labels))]
    answered = label_of(model_answer, spec)
    return [
        LabelKey(
            label,
            key,
            label == answered,
            spec.label_descriptions.get(label),
        )
        for label, key in zip(spec.labels, keys, strict=False)
    ]


def excerpt(text: str, length: int = 140) -> str:
    """Return at most `length` characters of a text, on one line."""
    line = " ".join(text[: 8 * length].split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
