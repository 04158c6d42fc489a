"""Values that stand for others, of the same shape: a phone number for a phone number.

They follow from a secret, the inference and the value, so that the same value is the same surrogate
in question and answer, in whatever way each writes it, and another one in the next inference.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from itertools import count, islice

from shared.privacy.cards import luhn

# The country and the area stay: an answer may have to tell them, and whoever writes the number
# without its country means the same seven digits. Ten million numbers end in other ones.
PHONE_DIGITS = 7
# A card's issuer: without it the number would be none.
CARD_DIGITS = 4
IBAN_HEAD = 4
ACCOUNTS = ("git", "hg", "svn")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Reserved for examples (RFC 2606): nobody has an address there.
DOMAIN = "example"

Draw = Callable[..., Iterator[int]]


def draw_from(secret: bytes, *scope: str) -> Draw:
    """Return what draws bytes for a value: always the same ones, which nobody can foresee without
    the secret.
    """

    def draw(*value: str) -> Iterator[int]:
        for block in count():
            message = "\0".join((*scope, *value, str(block))).encode("utf-8", "surrogatepass")
            yield from hmac.digest(secret, message, "sha256")

    return draw


def norm(kind: str, plain: str) -> str:
    """Return what is the same in all ways to write a value."""
    if kind == "EMAIL":
        return plain.lower()
    if kind == "IBAN":
        return "".join(filter(str.isalnum, plain)).upper()
    digits = "".join(filter(str.isdigit, plain))
    return digits[-PHONE_DIGITS:] if kind == "PHONE" else digits


def surrogate(kind: str, plain: str, draw: Draw) -> list[str]:
    """Return what stands for each character of a value: most often a character, and of the end of a
    domain the word for all of it.
    """
    if kind == "EMAIL":
        return _email(plain, draw)
    value = norm(kind, plain)
    fresh = {"PHONE": _phone, "CARD": _card, "IBAN": _iban}[kind](value, draw(kind, value))
    return _written_as(plain, fresh)


def _written_as(plain: str, fresh: str) -> list[str]:
    """Put the characters of a value into the places of the last ones of another."""
    each = reversed(fresh)
    pieces = [
        (next(each, character) if character.isalnum() else character)
        for character in reversed(plain)
    ][::-1]
    return [new.lower() if old.islower() else new for old, new in zip(plain, pieces, strict=True)]


def _phone(old: str, drawn: Iterator[int]) -> str:
    """Return seven other digits that make no date and no round number of any phone number."""
    while True:
        new = "".join(str(byte % 10) for byte in islice(drawn, len(old)))
        if (
            new != old
            and new[0] in "2345678"
            and not any(part in new for part in ("19", "20", "0000"))
        ):
            return new


def _card(old: str, drawn: Iterator[int]) -> str:
    while True:
        digits = "".join(str(byte % 10) for byte in islice(drawn, len(old) - CARD_DIGITS - 1))
        head = old[:CARD_DIGITS] + digits
        new = next(head + last for last in "0123456789" if luhn(head + last))
        if new != old:
            return new


def _iban(old: str, drawn: Iterator[int]) -> str:
    """Return another account of the same country, with the check sum that ISO 13616 wants."""
    country = old[:2]
    while True:
        account = "".join(_another(old[at], next(drawn)) for at in range(IBAN_HEAD, len(old)))
        number = "".join(str(int(character, 36)) for character in f"{account}{country}00")
        new = f"{country}{98 - int(number) % 97:02}{account}"
        if new != old:
            return new


def _email(plain: str, draw: Draw) -> list[str]:
    """Return another address: the same domain becomes the same one, at whosoever's address."""
    local, _, domain = plain.partition("@")
    *labels, top = domain.split(".")
    site = ".".join(labels)
    other_site = _spelled(site, draw("DOMAIN", domain.lower()))
    drawn = draw("EMAIL", plain.lower())
    other = _spelled(local, drawn)
    # A name of nothing but underscores has no other.
    may_differ = any(character.isalpha() or character.isdigit() for character in local)
    while may_differ and "".join(other).lower() in (local.lower(), *ACCOUNTS):
        other = _spelled(local, drawn)
    return [*other, "@", *other_site, ".", DOMAIN, *("" for _ in top[1:])]


def _spelled(old: str, drawn: Iterator[int]) -> list[str]:
    return [_another(character, next(drawn)) for character in old]


def _another(character: str, byte: int) -> str:
    """Return a digit for a digit, a letter for a letter, and what is neither as it is."""
    if character.isdigit():
        return str(byte % 10)
    if not character.isalpha():
        return character
    letter = LETTERS[byte % len(LETTERS)]
    return letter.upper() if character.isupper() else letter
