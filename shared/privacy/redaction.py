"""Personal data and secrets out of text, before it is stored or published: no model, no network.

It knows e-mail addresses, phone numbers, payment cards (check sum), IBANs (check sum), and keys,
tokens and passwords. What it finds of them, by language: docs/privacy.md.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterable

from shared.privacy.cards import cards_in
from shared.privacy.emails import emails_in
from shared.privacy.finds import Find, runs_in
from shared.privacy.ibans import ibans_in
from shared.privacy.keys import keys_in
from shared.privacy.passwords import passwords_in
from shared.privacy.phones import phones_in
from shared.privacy.view import View, view

# A replacement may give its neighbour a clean edge; ordinary text is stable after the second round.
MAX_ROUNDS = 8

# All that is looked for holds a digit or an @, but for what `is_worth_a_look` names: half of all
# texts need no more.
_WORTH_A_LOOK = re.compile(r"[@＠\d]")
_WORTH_A_LOOK_IN_ASCII = re.compile(r"[@0-9]")
# A number that is the value of a name in JSON, or stands in a list of it.
_BEFORE_VALUE = re.compile(r"\\*\"\s*:\s*-?\Z")
_BEFORE_ITEM = re.compile(r"[\[,]\s*-?\Z")
_BEHIND_NUMBER = re.compile(r"\s*(?:[,}\]]|\\n|\Z)")
_JSON = re.compile(r"\s*[\[{]")
_NEAR = 20

# What stands for a find of a text, in the text itself.
Instead = Callable[[str, View, Find], str]


def redact(text: str) -> str:
    """`text` with every find replaced by [EMAIL], [PHONE], [CARD], [IBAN] or [SECRET]. Redacting
    twice changes nothing.
    """
    return redact_counted(text)[0]


def redact_counted(text: str, instead: Instead | None = None) -> tuple[str, dict[str, int]]:
    """Return the redacted text, and how many of each kind were replaced; `instead` says by what."""
    counts: dict[str, int] = {}
    for _ in range(MAX_ROUNDS):
        if not is_worth_a_look(text):
            break
        seen = view(text)
        finds = finds_in(seen.plain)
        if not finds:
            break
        before = text
        text = replaced(text, seen, first_of(finds), counts, instead or in_place_of)
        if text == before:
            break
    return text, counts


def is_worth_a_look(text: str) -> bool:
    """Say whether a text may hold anything: logins in base64, keys in PEM, passwords and the tokens
    of Hugging Face need no digits.
    """
    sign = _WORTH_A_LOOK_IN_ASCII if text.isascii() else _WORTH_A_LOOK
    return (
        sign.search(text) is not None
        or "asic " in text
        or "-----BEGIN" in text
        or "pass" in text
        or "Pass" in text
        or "PASS" in text
        or "pwd" in text
        or "PWD" in text
        or "hf_" in text
    )


def finds_in(plain: str) -> list[Find]:
    """Return what the rules find, the surest ones first; finds may overlap."""
    finds = [*keys_in(plain), *passwords_in(plain), *emails_in(plain)]
    # Seven digits in a row, with separators, are in every account that a bank has given.
    if runs := runs_in(plain):
        finds += ibans_in(plain)
        for run in runs:
            finds += cards_in(run)
        for run in runs:
            finds += phones_in(run)
    return finds


def first_of(finds: Iterable[Find]) -> list[Find]:
    """Return finds in their order in the text; of those that overlap the one that came first."""
    kept: list[Find] = []
    for find in finds:
        at = bisect(kept, find)
        ends_before = at == 0 or kept[at - 1].end <= find.start
        if ends_before and (at == len(kept) or find.end <= kept[at].start):
            kept.insert(at, find)
    return kept


def replaced(
    text: str, seen: View, finds: list[Find], counts: dict[str, int], instead: Instead
) -> str:
    """Return the text with something else in the place of each find."""
    parts, at = [], 0
    for find in finds:
        start, end = seen.place(find.start, find.end)
        other = instead(text, seen, find)
        if other == text[start:end]:
            continue
        parts += [text[at:start], other]
        counts[find.kind] = counts.get(find.kind, 0) + 1
        at = end
    return "".join([*parts, text[at:]])


def in_place_of(text: str, seen: View, find: Find) -> str:
    """Return what stands for a find: a number of JSON stays one, of the same length, and says
    nothing but its first digit. Otherwise an answer in JSON would be none, and nobody could approve
    it.
    """
    start, end = seen.place(find.start, find.end)
    found = text[start:end]
    is_number = (
        found.isascii()
        and found.isdigit()
        and found[0] != "0"
        and _is_value(text[max(0, start - _NEAR) : start], in_json=_JSON.match(text) is not None)
        and _BEHIND_NUMBER.match(text, end) is not None
    )
    return found[0] + "0" * (len(found) - 1) if is_number else f"[{find.kind}]"


def _is_value(before: str, *, in_json: bool) -> bool:
    """Say whether a value of JSON follows: that of a name, or an item where all is JSON."""
    return bool(_BEFORE_VALUE.search(before) or (in_json and _BEFORE_ITEM.search(before)))
