"""What is said of a number just before it: that it is a phone's, or that it is something else's.

Words of the twelve languages of the corpus (docs/privacy.md), and of Korean, Turkish and Swedish.
The nearest one counts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import yaml

Said = Literal["phone", "other"]

_WORDS_OF = {
    name: words.split()
    for name, words in yaml.safe_load(
        Path(__file__).with_name("words.yaml").read_text("utf-8")
    ).items()
}
_PHONES = frozenset(_WORDS_OF["phones"])
_PHONE_STEMS = tuple(_WORDS_OF["phone_stems"])
_OTHERS = frozenset(_WORDS_OF["others"])
_OTHER_STEMS = tuple(_WORDS_OF["other_stems"])
_OTHER_ENDS = tuple(_WORDS_OF["other_ends"])
_BETWEEN = frozenset(_WORDS_OF["between"])
_PEOPLE = ("me", "us", "him", "her", "them")
# "my number is": whoever has one and says no more means the phone's.
_OWNERS = frozenset(_WORDS_OF["owners"])
_NUMBERS = frozenset(_WORDS_OF["numbers"])
_CJK = re.compile(r"[\u3040-\u9fff]")
_CJK_PHONES = tuple(_WORDS_OF["cjk_phones"])
_CJK_OTHERS = tuple(_WORDS_OF["cjk_others"])
_CJK_REACH = 14
# The country before a tax number; "T." and "M:" in the foot of a letter.
_INITIALS = re.compile(r"[A-Z]{2}")
_LETTER = re.compile(r"[TMFP][.:]")
# Where another field of JSON begins, or where something was replaced.
_FIELD = re.compile(r"[\"']\s*,|\}|\[[A-Z]+\]")
_WORDS = re.compile(
    r"(?<![^\W_])[TMFP][.:]|[\u3040-\u9fff]+|[^\W\d_\u3040-\u9fff]+|№|#(?=\Z)|[!?。！？]|\.(?=\s)"
)
# Words that are neither, between what counts and the number.
_MOST_STRANGE = 1
# "tel." and "Kundennr." end no sentence.
_SHORTENED = re.compile(r"^\w{1,4}$|(?:nr|no|tel)$")
_MOST_WORDS = 6


def said_before(before: str) -> Said | None:
    """Return what the words before a number say of it, None where they say nothing."""
    before = _FIELD.split(before)[-1]
    if _CJK.search(before) and (said := _said_in_cjk(before[-_CJK_REACH:])):
        return said
    strange = 0
    written = _WORDS.findall(before)[-_MOST_WORDS:]
    words = [word.lower() for word in written]
    for at in range(len(words) - 1, -1, -1):
        word = words[at]
        if word == "." and at and _SHORTENED.search(words[at - 1]):
            continue
        known = _meaning(written[at])
        if word == "reach" and words[at + 1 : at + 2] and words[at + 1] in _PEOPLE:
            return "phone"
        if word in _NUMBERS and at and words[at - 1] in _OWNERS:
            return "phone"
        if known == "between":
            continue
        if known or strange == _MOST_STRANGE or word in ".!?。！？":
            return known
        strange += 1
    return None


def is_of_a_phone(word: str) -> bool:
    """Say whether a word that is glued to a number leaves it a phone's: `Tel`, `is`."""
    return _meaning(word.lower()) in ("phone", "between")


def _meaning(word: str) -> Said | Literal["between"] | None:
    small = word.lower()
    if small in _BETWEEN or (_INITIALS.fullmatch(word) and small not in _OTHERS):
        return "between"
    if small in _PHONES or small.startswith(_PHONE_STEMS) or _LETTER.fullmatch(word):
        return "phone"
    if small in _OTHERS or small.startswith(_OTHER_STEMS) or small.endswith(_OTHER_ENDS):
        return "other"
    return None


def _said_in_cjk(before: str) -> Said | None:
    phone = max(before.rfind(word) for word in _CJK_PHONES)
    other = max(before.rfind(word) for word in _CJK_OTHERS)
    if phone == other:
        return None
    return "phone" if phone > other else "other"
