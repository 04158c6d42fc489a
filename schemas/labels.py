"""Labels as they are compared: by what a reader sees of them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import takewhile

# Rendered as nothing: control characters that are no white space, what Unicode lists as
# Default_Ignorable_Code_Point (DerivedCoreProperties.txt: soft hyphen, zero widths, bidi marks,
# byte order mark, variation selectors, tags), interlinear marks, the empty Braille pattern. Not
# all of category Cf: the Arabic number signs in it are seen.
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# What may stand around a label without being part of it: quotes, brackets, emphasis, and behind it
# the end of a sentence, in any script. Nothing that is meant before a digit or letter (`.5`, `-1`,
# `!x`) or after one (`C#`, `C++`, `5%`).
_OPENING = frozenset(" \"'`*_¡¿")
_CLOSING = frozenset(" \"'`*_.,:;!?。、،؛؟۔।॥։።፣·")
_OPENING_KINDS = ("Ps", "Pi", "Pf")
_CLOSING_KINDS = ("Pe", "Pi", "Pf")
# Marks on each side of an answer: 17 x 17 look-ups at the most.
_MOST_MARKS = 16


def folded(text: str) -> str:
    """Return a text without what two spellings of one label may differ in: case, width and other
    compatibility forms (NFKC), invisible characters, kinds and runs of white space.
    """
    seen = UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())


@dataclass(frozen=True)
class Labels:
    """The labels of a route, as answers are looked up among them."""

    labels: tuple[str, ...]

    @cached_property
    def keys(self) -> dict[str, str]:
        """Return the form in which each label is compared, by its spelling."""
        return {label: folded(label) for label in self.labels}

    @cached_property
    def spellings(self) -> dict[str, str]:
        """Return each label by the form in which it is compared; of equal ones the first."""
        return {key: label for label, key in reversed(self.keys.items())}

    @cached_property
    def bare(self) -> dict[str, str]:
        """Return labels without the marks around them, as far as that tells them apart."""
        cores = {label: _core(key) for label, key in self.keys.items()}
        often = Counter(cores.values())
        return {core: label for label, core in cores.items() if core and often[core] == 1}

    def find(self, answer: str) -> str | None:
        """Return the label that an answer names, as the route spells it.

        First comes the label itself, then the one that is left when the fewest marks around the
        answer are taken away, then one that is alike but for its own marks. Where two fit equally
        well, none does.
        """
        if answer in self.keys:
            return answer
        text = folded(answer)
        if text in self.spellings:
            return self.spellings[text]
        left, right = _marks(text)
        for gone in range(1, left + right + 1):
            found = self._inside(text, gone, left, right)
            if found:
                return found.pop() if len(found) == 1 else None
        return self.bare.get(_core(text))

    def _inside(self, text: str, gone: int, left: int, right: int) -> set[str]:
        """Return the labels that are left when `gone` marks around a text are taken away."""
        ends = range(max(0, gone - right), min(left, gone) + 1)
        cores = (text[start : len(text) - gone + start] for start in ends)
        return {self.spellings[core] for core in cores if core in self.spellings}


@lru_cache(maxsize=256)
def labels_of(labels: tuple[str, ...]) -> Labels:
    """Return the labels of a route, made ready once."""
    return Labels(labels)


def check_labels(labels: Sequence[str]) -> None:
    """Raise ValueError for labels that no answer could tell apart, in words."""
    seen: dict[str, str] = {}
    for number, label in enumerate(labels, start=1):
        key = folded(label)
        if not key:
            raise ValueError(
                f"label number {number} shows nothing (white space or invisible characters alone);"
                " give it a name that can be read"
            )
        if key in seen:
            raise ValueError(
                f"the labels '{seen[key]}' (as {seen[key]!a}) and '{label}' (as"
                f" {label!a}) are one label once case, width, invisible characters and white"
                " space are left out, as they are in answers; rename or remove one of them"
            )
        seen[key] = label


def _marks(text: str) -> tuple[int, int]:
    """Return how many marks stand before and behind the core of a folded text."""
    left = sum(1 for _ in takewhile(_opens, text[:_MOST_MARKS]))
    right = sum(1 for _ in takewhile(_closes, reversed(text[-_MOST_MARKS:])))
    return left, right


def _core(text: str) -> str:
    left, right = _marks(text)
    return text[left : max(left, len(text) - right)]


def _opens(char: str) -> bool:
    return char in _OPENING or unicodedata.category(char) in _OPENING_KINDS


def _closes(char: str) -> bool:
    return char in _CLOSING or unicodedata.category(char) in _CLOSING_KINDS
