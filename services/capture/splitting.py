"""Takes a body apart into its items without reading them, where as a whole it is no JSON.

One item with half of a surrogate pair, a NaN or 300 lists in each other makes a body of a hundred
items unreadable. Its brackets, commas and strings still say where each item begins and ends.
"""

from __future__ import annotations

import json
import re

from pydantic_core import from_json

from shared.http import is_too_dense

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}:,"]', re.DOTALL)
# 0.2 s of looking; a batch of 1,000 conversations has some ten thousand.
MOST_TOKENS = 500_000


class Inseparable(ValueError):
    """A body whose brackets and strings do not close, or that has too many of them."""


class Unreadable(ValueError):
    """An item that nobody can read; says why, without its text."""


def split(body: bytes, name: str) -> list[bytes]:
    """Return the items under `name`, or the body itself where it is an object without it.

    Raises Inseparable.
    """
    if not body.lstrip().startswith(b"{"):
        raise Inseparable
    pieces = _Pieces(body, json.dumps(name).encode())
    for number, token in enumerate(TOKENS.finditer(body)):
        if number > MOST_TOKENS or token[0] == b'"':
            raise Inseparable
        pieces.see(token)
    if pieces.depth != 0:
        raise Inseparable
    return pieces.found()


class _Pieces:
    """Cuts a body where its brackets and commas say that an item of the wanted list ends."""

    def __init__(self, body: bytes, wanted: bytes) -> None:
        self.body = body
        self.wanted = wanted
        self.depth = 0
        self._items: list[bytes] | None = None
        self._begin: int | None = None
        self._key = self._last = b""

    def see(self, token: re.Match[bytes]) -> None:
        mark = token[0]
        if mark in (b"[", b"{"):
            self.depth += 1
            if self.depth == 2 and mark == b"[" and self._key == self.wanted:
                self._items, self._begin = [], token.end()
        elif mark in (b"]", b"}"):
            self.depth -= 1
            if self.depth == 1:
                self._end(token.start(), None)
        elif mark == b"," and self.depth == 2:
            self._end(token.start(), token.end())
        elif self.depth == 1:
            self._key, self._last = (self._last, b"") if mark == b":" else (b"", mark)

    def found(self) -> list[bytes]:
        if self._items is None:
            return [self.body]
        return [] if len(self._items) == 1 and not self._items[0].strip() else self._items

    def _end(self, at: int, begin: int | None) -> None:
        if self._begin is not None and self._items is not None:
            self._items.append(self.body[self._begin : at])
            self._begin = begin


def read_item(raw: bytes) -> object:
    """Read one item, also where its JSON is bent a little: maybe in a field that it does without.

    Raises Unreadable.
    """
    if is_too_dense(raw):
        raise Unreadable("has more lists and objects than an item has")
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        pass
    try:
        # Reads half a surrogate pair and NaN, and nests to the limit of Python's recursion.
        return json.loads(raw)
    except RecursionError:
        why = "is nested too deeply"
    except UnicodeDecodeError:
        why = "is not UTF-8"
    except json.JSONDecodeError as error:
        why = f"is not valid JSON ({error.msg})"
    except ValueError:
        why = "holds a number of thousands of digits"
    raise Unreadable(why)
