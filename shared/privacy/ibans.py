"""International bank account numbers, by country, length and check sum (ISO 13616)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.privacy.finds import Find

# Of the registry of SWIFT, release 99, and of the countries that use one without being in it.
LENGTHS = {
    "AD": 24,
    "AE": 23,
    "AL": 28,
    "AO": 25,
    "AT": 20,
    "AZ": 28,
    "BA": 20,
    "BE": 16,
    "BF": 28,
    "BG": 22,
    "BH": 22,
    "BI": 27,
    "BJ": 28,
    "BR": 29,
    "BY": 28,
    "CF": 27,
    "CG": 27,
    "CH": 21,
    "CI": 28,
    "CM": 27,
    "CR": 22,
    "CV": 25,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DJ": 27,
    "DK": 18,
    "DO": 28,
    "DZ": 26,
    "EE": 20,
    "EG": 29,
    "ES": 24,
    "FI": 18,
    "FK": 18,
    "FO": 18,
    "FR": 27,
    "GA": 27,
    "GB": 22,
    "GE": 22,
    "GI": 23,
    "GL": 18,
    "GQ": 27,
    "GR": 27,
    "GT": 28,
    "GW": 25,
    "HN": 28,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IL": 23,
    "IQ": 23,
    "IR": 26,
    "IS": 26,
    "IT": 27,
    "JO": 30,
    "KM": 27,
    "KW": 30,
    "KZ": 20,
    "LB": 28,
    "LC": 32,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "LY": 25,
    "MA": 28,
    "MC": 27,
    "MD": 24,
    "ME": 22,
    "MG": 27,
    "MK": 19,
    "ML": 28,
    "MN": 20,
    "MR": 27,
    "MT": 31,
    "MU": 30,
    "MZ": 25,
    "NE": 28,
    "NI": 28,
    "NL": 18,
    "NO": 15,
    "OM": 23,
    "PK": 24,
    "PL": 28,
    "PS": 29,
    "PT": 25,
    "QA": 29,
    "RO": 24,
    "RS": 22,
    "RU": 33,
    "SA": 24,
    "SC": 31,
    "SD": 18,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "SN": 28,
    "SO": 23,
    "ST": 25,
    "SV": 28,
    "TD": 27,
    "TG": 28,
    "TL": 23,
    "TN": 24,
    "TR": 26,
    "UA": 29,
    "VA": 22,
    "VG": 24,
    "XK": 20,
    "YE": 30,
}
# Found from its digits on: these are rarer than letters. Two classes: with `[0-9]{2}` a search
# tries each character of the text, where it can look for the first digit alone.
_START = re.compile(
    r"[0-9][0-9](?:(?<=[A-Za-z]{2}[0-9]{2})|(?<=[A-Za-z]{2}[ ][0-9]{2}))"
    r"(?=[ \n._-]{0,3}[A-Za-z0-9])"
)
_NEXT = re.compile(r"[ \n._-]{0,3}([A-Za-z0-9])")


def ibans_in(plain: str) -> Iterator[Find]:
    """Yield the IBANs: the country says where one ends, whatever stands behind it."""
    at = 0
    while match := _START.search(plain, at):
        start = match.start() - (3 if plain[match.start() - 1] == " " else 2)
        end = _end_of_iban(plain, start, match.end())
        if end:
            yield Find(start, end, "IBAN")
        at = end or match.end()


def _end_of_iban(plain: str, start: int, at: int) -> int | None:
    country = plain[start : start + 2].upper()
    digits = plain[at - 2 : at]
    characters = country + digits
    length = LENGTHS.get(country, 0)
    while len(characters) < length:
        following = _NEXT.match(plain, at)
        if not following:
            return None
        characters += following[1]
        at = following.end()
    return at if length and mod97(characters) else None


def mod97(iban: str) -> bool:
    """Check the sum of an IBAN: letters count from A = 10, and 97 leaves 1."""
    plain = "".join(filter(str.isalnum, iban))
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1
