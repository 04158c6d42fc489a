"""One plain view of a text for all rules, from which every place leads back to the text.

People paste numbers with no-break blanks, dashes of all lengths, full-width or Arabic digits, and
marks that nobody sees. A rule that knew each of them would miss the next one.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# Digits, blanks and dashes of all scripts are below.
_LAST = 0x20000
_END_OF_FIRST_PLANE = "\uffff"
_MINUS = 0x2212
# Points at half height, which some write where others write a full stop.
_POINTS = frozenset("·•‧∙⋅・")


def _plain(code: int) -> str | None:
    """Return the ASCII character that stands for this one, None where it stands for itself."""
    character = chr(code)
    category = unicodedata.category(character)
    if character.isdecimal():
        return str(unicodedata.digit(character))
    if category == "Zs":
        return " "
    if category == "Pd" or code == _MINUS:
        return "-"
    if character in _POINTS:
        return "."
    wide = unicodedata.normalize("NFKC", character)
    return wide if 0xFF01 <= code <= 0xFF5E and wide.isascii() else None


_FOLDED = {code: plain for code in range(0x80, _LAST) if (plain := _plain(code)) is not None}
# What has no width: joiners, soft hyphens, marks of direction; tags lie beyond the rest.
_NO_WIDTH = "".join(
    chr(code) for code in range(0x80, _LAST) if unicodedata.category(chr(code)) == "Cf"
)
_INVISIBLE = re.compile(f"[{_NO_WIDTH}\U000e0000-\U000e007f]")
# In two parts: a class that reaches beyond the first plane is searched range by range (107 us for a
# letter in German, 3 so).
_WORTH_FOLDING = re.compile(
    f"[{''.join(c for c in [*map(chr, _FOLDED), *_NO_WIDTH] if c <= _END_OF_FIRST_PLANE)}]"
)
_BEYOND = re.compile("[\U00010000-\U0010ffff]")


# How JSON writes what would end a line or a string; JSON within JSON writes it so again.
_ESCAPES = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|([nrt]))")
_MEANT = {"n": "\n", "r": "\n", "t": " "}


class View(NamedTuple):
    """`plain` is what rules read; `offsets` are the places of its characters in the text, and its
    length; None where both are the same.
    """

    plain: str
    offsets: tuple[int, ...] | None = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the view is in the text."""
        if self.offsets is None:
            return start, end
        return self.offsets[start], self.offsets[end]


def view(text: str) -> View:
    """Return the plain view of a text; most texts are their own."""
    escaped = "\\" in text and _ESCAPES.search(text) is not None
    folds = not text.isascii() and bool(_WORTH_FOLDING.search(text) or _BEYOND.search(text))
    if not escaped and not folds:
        return View(text)
    plain, offsets = _unescaped(text) if escaped else (text, range(len(text) + 1))
    folded = plain.translate(_FOLDED)
    if _INVISIBLE.search(folded):
        kept = [at for at, character in enumerate(folded) if not _INVISIBLE.match(character)]
        folded = "".join(folded[at] for at in kept)
        offsets = [*(offsets[at] for at in kept), len(text)]
    return View(folded, None if isinstance(offsets, range) else tuple(offsets))


def _unescaped(text: str) -> tuple[str, list[int]]:
    """Return a text with the characters that escapes stand for, and where each of them is."""
    parts: list[str] = []
    offsets: list[int] = []
    at = 0
    for match in _ESCAPES.finditer(text):
        code, letter = match.groups()
        parts += [text[at : match.start()], chr(int(code, 16)) if code else _MEANT[letter]]
        offsets += range(at, match.start() + 1)
        at = match.end()
    parts.append(text[at:])
    offsets += range(at, len(text) + 1)
    return "".join(parts), offsets
