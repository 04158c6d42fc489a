"""How people and programs spell labels: invisible characters, case, and what stands for nothing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from schemas.labels import UNSEEN, folded

# What programs write where there is no value: the list of pandas' `read_csv`, databases, and
# Excel's errors in English, German, French, Spanish and Italian. Case counts: 'none' is a word.
MISSING = frozenset(
    (
        "NaN",
        "nan",
        "-NaN",
        "-nan",
        "<NA>",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "#NA",
        "#N/A N/A",
        "NaT",
        "None",
        "NULL",
        "null",
        "(null)",
        "<null>",
        "\\N",
        "undefined",
        "1.#QNAN",
        "-1.#IND",
        "#REF!",
        "#VALUE!",
        "#NAME?",
        "#DIV/0!",
        "#NULL!",
        "#NUM!",
        "#NV",
        "#N/D",
        "#WERT!",
    )
)
# They join or shape letters in Persian, Indic scripts and emoji, so they stay inside a word.
JOINERS = "\u200c\u200d\ufe0e\ufe0f"


def is_missing(cell: str | None) -> bool:
    """Say whether a cell holds nothing, or what a program writes for nothing."""
    return cell is None or not (shown := visible(cell)) or shown in MISSING


def visible(text: str) -> str:
    """Return a label or name as one sees it: no invisible characters, single spaces, NFC."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    return " ".join(UNSEEN.sub(_joiner, unicodedata.normalize("NFC", text)).split()).strip(JOINERS)


def _joiner(unseen: re.Match[str]) -> str:
    return unseen[0] if unseen[0] in JOINERS else ""


class Merged:
    """Labels that differ only in what one does not see or say; each gets its commonest spelling."""

    def __init__(self, labels: Iterable[str]) -> None:
        spellings: dict[str, Counter[str]] = defaultdict(Counter)
        counted = Counter(labels)
        self._forms = {label: folded(label) for label in counted}
        for label, count in counted.items():
            spellings[self._forms[label]][label] = count
        self._chosen = {
            form: visible(max(counts, key=lambda each: (counts[each], -len(each), each)))
            for form, counts in spellings.items()
        }
        # By the label that is used: the other spellings, with how often each came.
        self.others: dict[str, dict[str, int]] = {
            self._chosen[form]: {
                spelling: count
                for spelling, count in counts.most_common()
                if spelling != self._chosen[form]
            }
            for form, counts in spellings.items()
            if len(counts) > 1
        }

    def __getitem__(self, label: str) -> str:
        return self._chosen[self._forms.get(label) or folded(label)]


def shown(spelling: str) -> str:
    """Return a spelling with what is invisible in it written out."""
    return "".join(
        character
        if character == " " or (character.isprintable() and character not in JOINERS)
        else f"\\u{ord(character):04x}"
        for character in spelling
    )
