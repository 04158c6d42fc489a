"""Phone numbers: international ones by their country, national ones by how they are written or by
what is said before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from shared.privacy.context import Said, is_of_a_phone, said_before
from shared.privacy.finds import LEAST_DIGITS, Find, Run

MOST_DIGITS = 15
# How many digits follow a country's code; others have 7 to 12.
_NATIONAL_DIGITS: dict[str, tuple[int, int]] = {
    code: (least, most)
    for code, (least, most) in yaml.safe_load(
        Path(__file__).with_name("dialling.yaml").read_text("utf-8")
    ).items()
}
_OTHERS = (7, 12)
# How numbers are written that begin with no plus sign.
_SHAPES = (
    # 415-555-2671, (415) 555-2671, 1.800.555.0199
    r"(?:1[ .-]{1,2})?\([2-9]\d\d\)[ .-]{0,2}\d{3}[ .-]{1,2}\d{4}",
    r"(?:1[ .-]{1,2})?[2-9]\d\d[ ]{0,2}[ ./-][ ]{0,2}\d{3}[ .-]{1,2}\d{4}",
    # 030 / 123456, 01 23 45 67 89, (02) 9374 4000, 07700900123
    r"\(?0[1-9]\d{0,4}\)?(?:[ ]{0,2}[./-]?[ ]{0,2}(?<=\D)\d{2,9}){1,5}",
    r"0[1-9]\d{8,9}",
    r"\(0[ -]?\d{1,3}[ -]?\d{0,3}\)[ ]{0,2}\d{3,5}(?:[ -]?\d{2,4}){0,2}",
    # (11) 91234-5678, (11) 912345678, (601) 2345678, 55 1234 5678
    r"\(\d{1,4}\)[ -]{0,2}(?:\d{3,5}(?:[ -]{1,2}\d{2,4}){1,3}|\d{6,8}|9\d{8})",
    r"\d\d[ ]{1,2}9?\d{4}[ -]{1,2}\d{4}",
    # 138 1234 5678
    r"1[3-9]\d(?:[ -]{1,2}\d{4}){2}",
    # 8 (912) 345-67-89, 12 345 67 89
    r"(?:[78][ .-]{0,2})?\(?[3-9]\d\d\)?[ .-]{0,2}\d{3}(?:[ .-]{1,2}\d\d){2}",
    r"[78][ .-]{0,2}\([3-9]\d\d\)[ .-]{0,2}\d{3}[ .-]?\d{4}",
    r"[1-9]\d[ ]{1,2}\d{3}(?:[ ]{1,2}\d\d){2}",
    # 612 34 56 78, 346 374 1420, 98765 43210, 1300 123 456, 612 345 678
    r"[5-9]\d\d(?:[ ]{1,2}\d\d){3}|[67]\d(?:[ ]{1,2}\d\d){3,4}",
    r"3[2-9]\d[ .-]{1,2}\d{3}[ ]{0,2}\d{4}",
    r"[6-9]\d{4}[ -]{1,2}\d{5}",
    r"1[38]00(?:[ -]{1,2}\d{3}){2}",
    r"[4-9]\d\d(?:[ ]{1,2}\d{3}){2}|[4-9]\d\d(?:-\d{3}){2}",
)
_WRITTEN = re.compile("|".join(f"(?:{shape})" for shape in _SHAPES))
# Mobile numbers without a separator, and the script without which they may be anything.
_BARE_MOBILES = (
    (re.compile(r"1[3-9]\d{9}"), re.compile(r"[\u4e00-\u9fff]")),
    (re.compile(r"[78]9\d{9}"), re.compile(r"[\u0400-\u04ff]")),
)
_DATE = re.compile(
    r"(?<!\d)(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2})(?!\d)"
)
# The number goes on, or is a part of a word, a path or a fraction.
_JOINED_BEFORE = re.compile(r"(?:[A-Za-z_][/#_-]?|[#@&])\Z")
# Before a plus sign: it adds.
_MORE_THAN_PLUS = frozenset("0123456789+")
# Of a number without separators: what a program calls it.
_ASSIGNED = re.compile(r"=\Z")
_MOST_GROUPS = 8
_SEPARATORS = frozenset("./-")
# Characters around a number without separators, among which a script is looked for.
_NEAR = 100
_GROUP_OF_LONG_NUMBERS = 4
_JOINED_BEHIND = re.compile(
    r"[A-Za-z_%@]"
    r"|[ ]?(?:[€$£¥₽₹%元円件個]|(?:EUR|USD|GBP|PLN|RUB|CHF|kr|zł|руб|тг|Kč"
    r"|bytes?|octets?|байт|[KMG]i?[Bo]|people|users|pcs|Stück|szt|шт)(?!\w))"
)
LEAST_WRITTEN, MOST_WRITTEN = 8, 13
# An amount: whom can one call at 10000000?
_ROUND = re.compile(r"[0-9]+0{5}(?![0-9])")
_SHOWN_BEFORE = 60
# What is glued to a number on either side: all of an id, where it is a part of one.
_GLUED_BEFORE = re.compile(r"(?<![\w-])[\w-]+\Z")
# Behind a digit it is none that anybody knows: 1a.
_WORD = re.compile(r"[0-9]?[A-Za-z]+")
# Letters among the digits of an id, but no extension: 4155552671x12.
_ID_BEHIND = re.compile(
    r"[0-9_-]*+(?:[A-Fa-f][0-9A-Fa-f-]*+(?![A-Za-z])|(?!(?:x|ext)[0-9]{1,6}\b)[A-Za-z]++[0-9])"
)


def phones_in(run: Run) -> Iterator[Find]:
    """Yield the phone numbers in a run, from a group to a group."""
    said = said_before(run.plain[max(0, run.start - _SHOWN_BEFORE) : run.start])
    first = 0
    while first < len(run.groups):
        last = _end_of_phone(run, first, said)
        if last is None or _is_in_an_id(run, first):
            first += 1
            continue
        yield Find(_begin(run, first), run.groups[last][1], "PHONE")
        first = last + 1
        said = None


def _end_of_phone(run: Run, first: int, said: Said | None) -> int | None:
    start = run.groups[first][0]
    if first == 0 and run.plain[run.start] == "+":
        return _international(run, first, 0)
    if first and _is_part_of_a_word(run) and "\n" not in run.plain[run.start : start]:
        return None
    if run.plain.startswith("00", start) and (found := _international(run, first, 2)) is not None:
        return None if said == "other" else found
    if said == "phone" and first == 0:
        return _called(run)
    return None if said == "other" else _national(run, first)


def _international(run: Run, first: int, skipped: int) -> int | None:
    """Return the last group of the longest number that the country's plan allows."""
    if skipped == 0 and run.plain[max(0, run.start - 1) : run.start] in _MORE_THAN_PLUS:
        return None
    digits, found = "", None
    for last in range(first, len(run.groups)):
        start, end = run.groups[last]
        digits += run.plain[start:end]
        bare = digits[skipped:]
        if len(bare) > MOST_DIGITS + 1:
            break
        if _fits(bare) or (bare[:1] != "0" and _fits(bare.replace("0", "", 1)) and _has_trunk(run)):
            found = last
    return found


def _has_trunk(run: Run) -> bool:
    return "(0)" in run.plain[run.start : run.end]


def _fits(digits: str) -> bool:
    """Say whether so many digits may follow the country's code."""
    if len(digits) < LEAST_DIGITS or digits[0] == "0":
        return False
    for size in (1, 2, 3):
        if limits := _NATIONAL_DIGITS.get(digits[:size]):
            return limits[0] <= len(digits) - size <= limits[1]
    return _OTHERS[0] <= len(digits) - 3 <= _OTHERS[1]


def _called(run: Run) -> int | None:
    """Return the last group of a number that is said to be a phone's."""
    if _ROUND.match(run.plain, run.start):
        return None
    total, found = 0, None
    for last, (start, end) in enumerate(run.groups):
        total += end - start
        if total > MOST_DIGITS or "\n" in run.plain[run.groups[max(0, last - 1)][1] : start]:
            break
        if total >= LEAST_DIGITS:
            found = last
    return None if _DATE.match(run.plain, run.groups[0][0]) else found


def _national(run: Run, first: int) -> int | None:
    """Return the last group of the longest number that is written as a phone's in some country."""
    start = _begin(run, first)
    if not _WRITTEN.match(run.dashed, start) and not _begins_bare(run.plain, start):
        return None
    before = run.plain[max(0, start - 2) : start]
    if _JOINED_BEFORE.search(before):
        return None
    window = run.groups[first : first + _MOST_GROUPS]
    digits = sum(b - a for a, b in window)
    for last in range(first + len(window) - 1, first - 1, -1):
        group, end = run.groups[last]
        if (
            LEAST_WRITTEN <= digits <= MOST_WRITTEN
            and _is_written(run, start, end)
            and not (first == last and _ASSIGNED.search(before))
            and not _JOINED_BEHIND.match(run.plain, end)
            and not _goes_on(run.plain, start, end)
            and not _in_fours(run, first, last)
            and not _DATE.search(run.plain, start, end)
        ):
            return last
        digits -= end - group
    return None


def _begins_bare(plain: str, start: int) -> bool:
    return any(mobile.match(plain, start) for mobile, _ in _BARE_MOBILES)


def _is_written(run: Run, start: int, end: int) -> bool:
    if _WRITTEN.fullmatch(run.dashed, start, end):
        return True
    around = run.plain[max(0, start - _NEAR) : end + _NEAR]
    return any(
        mobile.fullmatch(run.plain, start, end) and script.search(around)
        for mobile, script in _BARE_MOBILES
    )


def _goes_on(plain: str, start: int, end: int) -> bool:
    """Say whether more digits stand behind or before one of the separators inside the number."""
    beside = (plain[end : end + 2], plain[max(0, start - 2) : start][::-1])
    return any(
        two[:1] in _SEPARATORS and two[:1] in plain[start:end] and two[1:].isdigit()
        for two in beside
    )


def _in_fours(run: Run, first: int, last: int) -> bool:
    """Say whether more groups of four stand behind or before: a tracking number, a broken card."""
    sizes = {b - a for a, b in run.groups[first : last + 1]}
    has_trunk = run.plain[run.groups[first][0]] == "0"
    if first == last or (has_trunk and sizes != {_GROUP_OF_LONG_NUMBERS}):
        return False
    inside = run.plain[run.groups[last - 1][1] : run.groups[last][0]]
    pairs = ((last, last + 1), (first, first - 1))
    return any(_is_four_beside(run, at, beside, inside) for at, beside in pairs)


def _is_four_beside(run: Run, at: int, beside: int, separator: str) -> bool:
    if not 0 <= beside < len(run.groups):
        return False
    sizes = {b - a for a, b in (run.groups[at], run.groups[beside])}
    left, right = sorted((at, beside))
    between = run.plain[run.groups[left][1] : run.groups[right][0]]
    return sizes == {_GROUP_OF_LONG_NUMBERS} and between == separator


def _is_part_of_a_word(run: Run) -> bool:
    """Say whether the run goes on what began as a word: a serial number, a broken IBAN."""
    before = run.plain[max(0, run.start - 1) : run.start]
    return before == "_" or (before.isascii() and before.isalpha())


def _is_in_an_id(run: Run, first: int) -> bool:
    """Say whether digits belong to an id: `call_01a6c537-2136-74d1-…` is none's number. What is
    glued before a number says that it is a phone's: `Tel0301234567`, `phone_4155552671`.
    """
    start = run.groups[first][0]
    if start and run.plain[start - 1] == "+":
        return False
    glued = _GLUED_BEFORE.search(run.plain[max(0, start - _SHOWN_BEFORE) : start])
    if glued and glued[0].isascii() and not all(map(is_of_a_phone, _WORD.findall(glued[0]))):
        return True
    return _ID_BEHIND.match(run.plain, start) is not None


def _begin(run: Run, first: int) -> int:
    """Return where a number begins: at its bracket or plus sign, where it has one."""
    start = run.groups[first][0]
    if start and run.plain[start - 1] == "(" and ")" in run.plain[start : start + 7]:
        start -= 1
    return start - 1 if start and run.plain[start - 1] == "+" else start
