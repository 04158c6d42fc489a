"""What redaction looks for: patterns with check sums, each after a sign that is cheap to see.

Every pattern starts only where a token starts and repeats possessively, so the time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# Most of the other half hold an order number or a date: a cheaper sign tells where a rule cannot
# find anything. A sign may be seen for nothing and must never be missed (test_redaction compares):
# 15 us a text became 7, one in six with a find.
# no number below has fewer, or more than three characters between two
_SEVEN_DIGITS = re.compile(r"\d(?:\D{0,4}\d){6}")
_IBAN_START = re.compile(r"\d\d(?<=[A-Za-z][A-Za-z]\d\d)[ \u00a0-]?[A-Za-z0-9]{4}")

PEM = re.compile(
    r"""
    -----BEGIN\ (?:[A-Z]++\ ){0,3}PRIVATE\ KEY-----
    (?: (?:[^-]|-(?!----))*+ -----END\ (?:[A-Z]++\ ){0,3}PRIVATE\ KEY-----
      | (?:(?:\s|\\n)*+[A-Za-z0-9+/=]{40,}+)*+ )                      # cut off before its end
    """,
    re.VERBOSE,
)
_KEY = r"""
    (?<![A-Za-z0-9_-])
    (?: (?:sk|rk|pk)[-_](?=[A-Za-z_-]*+\d)[A-Za-z0-9_-]{16,}+  # OpenAI, Stripe, ours
      | (?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])
      | (?:gh[pousr]_|github_pat_|glpat-|hf_|npm_)[A-Za-z0-9_-]{20,}+
      | xox[abeprs]-[A-Za-z0-9-]{10,}+
      | AIza[0-9A-Za-z_-]{35}
      | eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]*+      # JWT
    )
"""
_NAMED_KEY = r"""
    (?<![A-Za-z])
    (?P<keep> bearer[ \t]++
      | (?:api[_-]?key|secret|token|passwo?r?d)["']?[ \t]*+[:=][ \t]*+["']? )
    (?=[A-Za-z_.~+/=-]{0,64}+\d)[A-Za-z0-9_.~+/=-]{12,}+
"""
_URL_LOGIN = r"(?P<keep>://)[^\s/:@]++:[^\s/@]++(?=@)"
_EMAIL = (
    r"(?<![\w.%+-])(?<!\w')[\w.%+-]++(?:'[\w.%+-]++)*+@(?:[\w-]++\.)+(?:xn--[\w-]++|[^\W\d_]{2,})"
)

_IBAN = (
    r"[A-Za-z](?<![A-Za-z0-9].)[A-Za-z]\d\d(?:[ \u00a0-]?[A-Za-z0-9]{4}){2,7}"
    r"(?:[ \u00a0-]?[A-Za-z0-9]{1,3})?"
)
IBAN_LENGTHS = {
    "AD": 24,
    "AE": 23,
    "AL": 28,
    "AT": 20,
    "AZ": 28,
    "BA": 20,
    "BE": 16,
    "BG": 22,
    "BH": 22,
    "BR": 29,
    "BY": 28,
    "CH": 21,
    "CR": 22,
    "CY": 28,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "DO": 28,
    "EE": 20,
    "EG": 29,
    "ES": 24,
    "FI": 18,
    "FO": 18,
    "FR": 27,
    "GB": 22,
    "GE": 22,
    "GI": 23,
    "GL": 18,
    "GR": 27,
    "GT": 28,
    "HR": 21,
    "HU": 28,
    "IE": 22,
    "IL": 23,
    "IQ": 23,
    "IS": 26,
    "IT": 27,
    "JO": 30,
    "KW": 30,
    "KZ": 20,
    "LB": 28,
    "LC": 32,
    "LI": 21,
    "LT": 20,
    "LU": 20,
    "LV": 21,
    "MC": 27,
    "MD": 24,
    "ME": 22,
    "MK": 19,
    "MR": 27,
    "MT": 31,
    "MU": 30,
    "NL": 18,
    "NO": 15,
    "PK": 24,
    "PL": 28,
    "PS": 29,
    "PT": 25,
    "QA": 29,
    "RO": 24,
    "RS": 22,
    "SA": 24,
    "SC": 31,
    "SE": 24,
    "SI": 19,
    "SK": 24,
    "SM": 27,
    "ST": 25,
    "SV": 28,
    "TL": 23,
    "TN": 24,
    "TR": 26,
    "UA": 29,
    "VA": 22,
    "VG": 24,
    "XK": 20,
}

_CARD = r"""
    [2-6](?<![\w.+].)(?<!\d-.)\d{3}
    (?: ([ \u00a0.-]?)\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?      # 4 4 4 4, 4 4 4 4 3
      | [ \u00a0-]\d{6}[ \u00a0-]\d{4,5}      # 4 6 5 (American Express), 4 6 4 (Diners)
      | \d{4}[ \u00a0-]\d{8} | \d{9,15} )
    (?![\w]|[.-]\d)
"""
# (first digits, lengths): without them one random number in ten passes Luhn.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}"
    r"|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|35\d{14}|6(?:011|4[4-9]\d|5\d\d|2\d\d)\d{12,15}|(?:50|5[6-8]|6[37])\d{11,17}"
)

_PHONE = r"""
    [+(0-9](?<![\w+].)(?<![/.-][(0-9])
    (?: (?<=\+)\(?[1-9](?:[ \u00a0.()/-]{0,3}\d){7,14}      # +49 (0) 30 / 123456
      | (?<=0)0[1-9]\d{0,2}(?:[ \u00a0./-]\(?\d{1,8}\)?){2,5}      # 0049 30 123456
      | (?: (?<=1)[ .-](?:\([2-9]\d\d\)[ ]?|[2-9]\d\d[ .-])
          | (?<=\()[2-9]\d\d\)[ ]? | (?<=[2-9])\d\d[ .-] )
        [2-9]\d\d[ .-]\d{4}      # (415) 555-2671
      | (?<=0)[1-9](?:[ .-]\d\d){4}      # 01 23 45 67 89
      | (?<=0)[1-9][ ]\d{4}[ ]\d{4}      # 02 9374 4000
      | (?<=0)[1-9]\d{1,4}(?:[ ./-]\d{2,8}){1,4}      # 020 7946 0958, 0151/23456789
      | (?<=0)[1-9]\d{8,9}      # 07700900123
      | (?<=\()0?\d{2,4}\)[ -]?\d{3,5}(?:[ -]?\d{2,4}){1,3}      # (11) 91234-5678, (02) 9374 4000
    )
    (?!\w|[./-]\d|[ ]\d{3})
"""
_BARE_NUMBER = r"[(0-9](?<![\w.-].)\(?(?:[ \u00a0.()/-]{0,2}\d){6,14}(?!\w|[./-]\d)"
_CALLED_PHONE = re.compile(
    r"(?<![^\W_])(?:tel|telephone|telefon|teléfono|téléphone|phone|mobile|móvil"
    r"|handy|cell|whatsapp|fax|sms|call|text|ring|reach)"
    r"(?![^\W_])[^\d+@]{0,24}\Z",
    re.IGNORECASE,
)
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|tracking|refer?ence|ref|case|sku|po|rma|parcel|shipment|booking"
    r"|confirmation|transaction|serial|imei|account|customer|item|article|part"
    r"|bestellung|pedido|commande)\W{0,3}"
    r"(?:(?:number|num|no|nr|id|code|is|was|n°)\W{0,3}){0,2}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<!\d)(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2})(?!\d)"
)


@dataclass(frozen=True)
class Rule:
    """`pattern` finds candidates; `length` says how much of one to replace (0: it is something
    else).
    """

    kind: str
    pattern: re.Pattern[str]
    length: Callable[[re.Match[str]], int]


def _whole(match: re.Match[str]) -> int:
    return len(match[0])


def _if_card(match: re.Match[str]) -> int:
    digits = "".join(filter(str.isdigit, match[0]))
    return len(match[0]) if _ISSUERS.fullmatch(digits) and luhn(digits) else 0


def _if_iban(match: re.Match[str]) -> int:
    """Return the length of the IBAN; the candidate may run on into the next word.

    The country says where an IBAN ends.
    """
    wanted = IBAN_LENGTHS.get(match[0][:2].upper(), 0)
    seen = 0
    for position, character in enumerate(match[0], start=1):
        seen += character.isalnum()
        if wanted and seen == wanted:
            ends = not match.string[
                match.start() + position : match.start() + position + 1
            ].isalnum()
            return position if ends and mod97(match[0][:position]) else 0
    return 0


def _if_phone(match: re.Match[str]) -> int:
    """Return the length unless it is a date, or the words before it name it as something else."""
    digits = sum(map(str.isdigit, match[0]))
    if not 7 <= digits <= 15 or _DATE.search(match[0]) or _OTHER_NUMBER.search(_before(match)):
        return 0
    return len(match[0])


def _if_called_phone(match: re.Match[str]) -> int:
    return _if_phone(match) if _CALLED_PHONE.search(_before(match)) else 0


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - 40) : match.start()]


def luhn(digits: str) -> bool:
    """Check the sum of payment cards (ISO/IEC 7812-1)."""
    odd = digits[-1::-2]
    even = digits[-2::-2]
    return (sum(map(int, odd)) + sum(sum(divmod(2 * int(digit), 10)) for digit in even)) % 10 == 0


def mod97(iban: str) -> bool:
    """Check the sum of an IBAN (ISO 13616).

    Letters count from A = 10; the number leaves 1 when divided by 97.
    """
    plain = "".join(filter(str.isalnum, iban))
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _has_key(text: str) -> bool:
    """Written out: a loop over the signs costs three times as much as looking for them."""
    return (
        "_" in text
        or "k-" in text
        or "glpat-" in text
        or "xox" in text
        or "AKIA" in text
        or "ASIA" in text
        or "AIza" in text
        or "eyJ" in text
    )


def _has_named_key(text: str) -> bool:
    folded = text.lower()
    return (
        "bearer" in folded
        or "key" in folded
        or "secret" in folded
        or "token" in folded
        or "pass" in folded
    )


def _has_login(text: str) -> bool:
    return "://" in text and "@" in text


# Each group of rules after the sign without which none of them finds anything.
RULES: tuple[tuple[Callable[[str], object], tuple[Rule, ...]], ...] = (
    (_has_key, (Rule("SECRET", re.compile(_KEY, re.VERBOSE), _whole),)),
    (_has_named_key, (Rule("SECRET", re.compile(_NAMED_KEY, re.VERBOSE | re.IGNORECASE), _whole),)),
    (_has_login, (Rule("SECRET", re.compile(_URL_LOGIN), _whole),)),
    (lambda text: "@" in text, (Rule("EMAIL", re.compile(_EMAIL), _whole),)),
    (_IBAN_START.search, (Rule("IBAN", re.compile(_IBAN), _if_iban),)),
    (
        _SEVEN_DIGITS.search,
        (
            Rule("CARD", re.compile(_CARD, re.VERBOSE), _if_card),
            Rule("PHONE", re.compile(_PHONE, re.VERBOSE), _if_phone),
            Rule("PHONE", re.compile(_BARE_NUMBER), _if_called_phone),
        ),
    ),
)
