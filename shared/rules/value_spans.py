"""Where the values stand in a JSON text, and which tokens tell of them.

A probability of braces and names says how sure a model is of the form. Whether its answer is right
depends on the values (docs/methods.md, section 1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

# A string (with the colon that makes it a name), a number or word, or what holds nothing.
PARTS = re.compile(
    rb'"((?:[^"\\]|\\.)*+)"(\s*+:)?|(-?[0-9][0-9.eE+-]*+|true|false|null|\[\s*+\]|\{\s*+\})',
    re.DOTALL,
)
SPACE = b" \t\n\r"


class Span(NamedTuple):
    """Bytes of a text, from `start` to before `end`."""

    start: int
    end: int


def value_spans(text: bytes) -> list[Span]:
    """Return where each value stands, in order.

    Of a string these are the bytes between its quotes, as they are escaped. What holds nothing (an
    empty string, array or object) is its marks.
    """
    found = []
    for part in PARTS.finditer(text):
        if part[2] is not None:
            continue
        if part[1]:
            found.append(Span(*part.span(1)))
        else:
            found.append(Span(*part.span()))
    return found


def tokens_of(spans: Sequence[Span], tokens: Sequence[Span], text: bytes) -> list[list[int]]:
    """Return the tokens that tell of each value, by index; spans and tokens must be in order.

    One that holds other marks as well (`",` after a string) tells of the form, too, and is left out
    where others tell of the value. White space is no mark. A token counts for one value alone.
    """
    found: list[list[int]] = []
    at = 0
    for start, end in spans:
        pure = []
        mixed = []
        while at < len(tokens) and tokens[at].end <= start:
            at += 1
        while at < len(tokens) and tokens[at].start < end:
            first, last = tokens[at]
            if (first >= start and last <= end) or not (text[first:start] + text[end:last]).strip(
                SPACE
            ):
                pure.append(at)
            else:
                mixed.append(at)
            at += 1
        told = pure or mixed
        # What ends this value may begin the next one.
        if mixed and told[-1] != mixed[-1]:
            at = mixed[-1]
        found.append(told)
    return found
