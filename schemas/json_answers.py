"""JSON as answers are compared: by value."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from math import isfinite
from typing import Any, NoReturn

from pydantic_core import from_json

from schemas.base import JsonObject

# Digits before or behind the point that a number is written out with.
_WRITTEN_OUT = 21


class _Number(str):
    """A number, of which equal values have one spelling."""

    __slots__ = ()


def read_json(text: str) -> Any:
    """Return the value that somebody wrote as JSON. Raises ValueError where it is none.

    Nested more than 200 levels deep it is none, in every service alike: `json.loads` raises another
    error there, and at a depth that depends on its caller's. A name that stands twice in one object
    makes it none, too (readers disagree about which of the values counts), and so do NaN and
    Infinity.
    """
    return _read(text, _finite, int)


def canonical(text: str) -> str:
    """Write JSON so that equal values give equal texts: names in order, numbers by their value
    (1.0 is 1, and no digit of a long one is lost). Raises ValueError where it is none.
    """
    return _written(_read(text, _number, _number))


def canonical_fields(text: str) -> dict[str, str]:
    """Return the top level of a JSON object: each name with its value as `canonical` writes it.

    Raises ValueError where it is no object.
    """
    match _read(text, _number, _number):
        case dict() as record:
            return {name: _written(value) for name, value in record.items()}
        case _:
            raise ValueError("not a JSON object")


def _read(text: str, real: Callable[[str], Any], whole: Callable[[str], Any]) -> Any:
    # Refuses what is no JSON and what is too deep; it would lose digits, and names that repeat.
    from_json(text.encode(), allow_inf_nan=False)
    return json.loads(
        text,
        parse_float=real,
        parse_int=whole,
        parse_constant=_refuse,
        object_pairs_hook=_as_object,
    )


def _as_object(pairs: list[tuple[str, Any]]) -> JsonObject:
    record = {unicodedata.normalize("NFC", name): value for name, value in pairs}
    if len(record) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return record


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number is too large for any reader")
    return number


def _number(text: str) -> _Number:
    mantissa, _, power = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    core = digits.rstrip("0")
    if not core:
        return _Number("0")
    exponent = int(power or 0) - len(fraction) + len(digits) - len(core)
    sign = "-" if text.startswith("-") else ""
    return _Number(f"{sign}{_spelled(core, exponent)}")


def _spelled(digits: str, exponent: int) -> str:
    if 0 <= exponent <= _WRITTEN_OUT:
        return digits + "0" * exponent
    if 0 < -exponent <= _WRITTEN_OUT:
        padded = digits.rjust(1 - exponent, "0")
        return f"{padded[:exponent]}.{padded[exponent:]}"
    return f"{digits}e{exponent}"


def _written(value: Any) -> str:
    """Write a value of some 200 levels with one frame for each: a generator would take two."""
    match value:
        case _Number():
            return str(value)
        case str():
            return _quoted(unicodedata.normalize("NFC", value))
        case dict():
            names = sorted(value)
            values = map(_written, map(value.get, names))
            return f"{{{', '.join(map('{}: {}'.format, map(_quoted, names), values))}}}"
        case list():
            return f"[{', '.join(map(_written, value))}]"
        case _:
            return json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
