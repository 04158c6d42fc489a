"""Payment cards, by issuer, length and check sum (ISO/IEC 7812-1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.privacy.finds import Find, Run

# With 13 digits a Visa of old and every tenth number of an article look alike.
LEAST, MOST = 14, 19
# First digits and lengths: without them one random number in ten passes the check sum. After the
# ranges that the networks publish: Visa, Mastercard, American Express, Diners, JCB, Discover,
# UnionPay, Maestro, Mir, RuPay, Elo, Troy.
_ISSUERS = re.compile(
    r"4(?:\d{15}|\d{18})|5[1-5]\d{14}"
    r"|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|220[0-4]\d{12,15}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,13}"
    r"|35\d{14}|6(?:011|4[4-9]\d|5\d\d|2\d\d)\d{12,15}|60\d{14}|8[12]\d{14}|9792\d{12}"
    r"|(?:50|5[6-8]|6[37])\d{14,17}"
)
# A group in the middle of a card that is written in groups, and its last one.
_LEAST_GROUP, _LEAST_LAST = 4, 3
_LONGEST_WORD = 40
_FRACTION = re.compile(r"[0-9]\.\Z")
_JOINED_BEFORE = re.compile(r"([A-Za-z0-9_-]*[A-Za-z0-9])[_-]?\Z")
_JOINED_BEHIND = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)")
_A_WORD = re.compile(r"[A-Za-z]{3,}")


def cards_in(run: Run) -> Iterator[Find]:
    """Yield the cards in a run: whatever stands before or behind, from a group to a group."""
    taken = -1
    for first, (start, end) in enumerate(run.groups):
        if first <= taken or end - start < _LEAST_GROUP or run.plain[start] in "01":
            continue
        last = _end_of_card(run, first)
        if last is not None:
            yield Find(start, run.groups[last][1], "CARD")
            taken = last


def _end_of_card(run: Run, first: int) -> int | None:
    """Return the last group of the longest card that begins with this group."""
    digits, found = "", None
    for last in range(first, len(run.groups)):
        start, end = run.groups[last]
        digits += run.plain[start:end]
        if len(digits) > MOST or (last > first and end - start < _LEAST_LAST):
            break
        if is_card(digits) and _stands_alone(run, first, last):
            found = last
    return found


def _stands_alone(run: Run, first: int, last: int) -> bool:
    """Say whether a number without separators is no part of a fraction, a hash or a serial number;
    a word of three letters may be written together with it.
    """
    if first < last:
        return True
    start, end = run.groups[first]
    before = run.plain[max(0, start - _LONGEST_WORD) : start]
    behind = run.plain[end : end + _LONGEST_WORD]
    return not _FRACTION.search(before) and all(
        word is None or _A_WORD.fullmatch(word[1])
        for word in (_JOINED_BEFORE.search(before), _JOINED_BEHIND.match(behind))
    )


def is_card(digits: str) -> bool:
    return len(digits) >= LEAST and _ISSUERS.fullmatch(digits) is not None and luhn(digits)


def luhn(digits: str) -> bool:
    """Check the sum of payment cards (ISO/IEC 7812-1, annex B)."""
    odd = digits[-1::-2]
    even = digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)) % 10 == 0
