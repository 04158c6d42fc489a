"""Redaction of a route of which some personal data is the task: an adapter that is to copy phone
numbers must see numbers, not `[PHONE]`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from string import ascii_uppercase
from typing import TypeVar

from pydantic import SecretStr

from shared.privacy.finds import Find, runs_in
from shared.privacy.redaction import (
    finds_in,
    first_of,
    in_place_of,
    is_worth_a_look,
    redact,
    redact_counted,
    replaced,
)
from shared.privacy.surrogates import PHONE_DIGITS, Draw, draw_from, norm, surrogate
from shared.privacy.view import View, view
from shared.telemetry import log

MARK_LETTERS = 12
Redact = Callable[[str], str]
Made = TypeVar("Made")


class Personal:
    """Makes what redacts the texts of an inference; `chosen` says by kind what is not redacted but
    replaced by a surrogate or kept (`PersonalRule.chosen`).
    """

    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = secret.get_secret_value().encode() if secret else None
        self._has_warned = False

    def of(
        self, chosen: Mapping[str, str], route: str, inference_id: str, seen: Iterable[str] = ()
    ) -> Redact:
        """Return what redacts this inference. Values that stand in `seen`, which was recorded of it
        before, are left as they are: who writes them has them from there.
        """
        if not chosen:
            return redact
        if self._secret is None:
            chosen = {kind: said for kind, said in chosen.items() if said == "keep"}
            self._warn(route)
        draw = draw_from(self._secret or b"", route, inference_id)
        return ByRoute(chosen, draw, seen)

    def _warn(self, route: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log("privacy").warning(
                "no surrogates without SURROGATE_SECRET: redacted instead", route=route
            )


def redact_but(kinds: Iterable[str]) -> Redact:
    """Return what redacts all but these kinds: what was recorded of them is to be learned."""
    chosen = dict.fromkeys(kinds, "keep")
    return ByRoute(chosen, draw_from(b"")) if chosen else redact


def redact_but_counted(text: str, kinds: Iterable[str]) -> tuple[str, dict[str, int]]:
    """Return the text redacted but for these kinds, and how many of each other kind there were."""
    redacting = ByRoute(dict.fromkeys(kinds, "keep"), draw_from(b""))
    return redacting(text), dict(redacting.finds)


def both_ways(make: Callable[[], Made], redacting: Redact) -> Made:
    """Return what `make` makes of an inference by `redacting` it.

    It is made once more where a later text said of a number what an earlier one left open: `call
    4155552671` is a phone's, and the answer `4155552671` by itself is nothing.
    """
    if not isinstance(redacting, ByRoute):
        return make()
    known = len(redacting.known)
    made = make()
    return make() if len(redacting.known) > known else made


class ByRoute:
    """Redacts the texts of one inference."""

    def __init__(self, chosen: Mapping[str, str], draw: Draw, seen: Iterable[str] = ()) -> None:
        self.chosen = chosen
        self.draw = draw
        # What was redacted, by kind.
        self.finds: Counter[str] = Counter()
        # How the phone numbers of this inference end.
        self.known: set[str] = set()
        self._seen = {value for text in seen for value in _values_in(text)}

    def __call__(self, text: str) -> str:
        if not is_worth_a_look(text):
            return text
        mark = _drawn_mark()
        while mark in text:
            mark = _drawn_mark()
        values: dict[str, str] = {}

        def instead(text: str, seen: View, find: Find) -> str:
            """Return a mark, which no rule finds, as none finds `[PHONE]`."""
            if find.kind not in self.chosen:
                return in_place_of(text, seen, find)
            number = f"{mark}{_in_letters(len(values))}]"
            values[number] = self._value(text, seen, find)
            return number

        redacted, counts = redact_counted(text, instead)
        self.finds.update({kind: n for kind, n in counts.items() if kind not in self.chosen})
        if self.known:
            seen = view(redacted)
            again = list(_ending_in(seen.plain, self.known))
            redacted = replaced(redacted, seen, again, counts, instead)
        return re.sub(rf"{re.escape(mark)}[A-J]+\]", lambda found: values[found[0]], redacted)

    def _value(self, text: str, seen: View, find: Find) -> str:
        plain = seen.plain[find.start : find.end]
        start, end = seen.place(find.start, find.end)
        value = norm(find.kind, plain)
        if self.chosen[find.kind] == "keep" or (find.kind, value) in self._seen:
            return text[start:end]
        if find.kind == "PHONE":
            self.known.add(value)
        return _as_written(text, seen, find, surrogate(find.kind, plain, self.draw))


def _as_written(text: str, seen: View, find: Find, pieces: list[str]) -> str:
    """Return a surrogate in the digits and with the separators of the text."""
    parts = []
    for at, piece in zip(range(find.start, find.end), pieces, strict=True):
        start, end = seen.place(at, at + 1)
        old = text[start:end]
        if piece == seen.plain[at]:
            parts.append(old)
        elif len(old) == 1 and old.isdecimal() and piece.isdigit():
            # Ten digits of a script stand in a row.
            parts.append(chr(ord(old) + int(piece) - int(old)))
        else:
            parts.append(piece)
    return "".join(parts)


def _ending_in(plain: str, known: set[str]) -> Iterator[Find]:
    """Yield the numbers that end in known seven digits, whatever is said of them."""
    for run in runs_in(plain):
        taken = -1
        for last, (_, end) in enumerate(run.groups):
            first, digits = last, ""
            while first > taken and len(digits) < PHONE_DIGITS:
                start = run.groups[first][0]
                digits = plain[start : run.groups[first][1]] + digits
                first -= 1
            if digits[-PHONE_DIGITS:] in known:
                yield Find(start, end, "PHONE")
                taken = last


def _values_in(text: str) -> Iterator[tuple[str, str]]:
    plain = view(text).plain
    for find in first_of(finds_in(plain)):
        yield find.kind, norm(find.kind, plain[find.start : find.end])
    for run in runs_in(plain):
        digits = ""
        for start, end in run.groups:
            digits += plain[start:end]
            if len(digits) >= PHONE_DIGITS:
                yield "PHONE", digits[-PHONE_DIGITS:]


def _drawn_mark() -> str:
    """Return how the marks of one text begin: who could foresee it could write it into a text."""
    return f"[{''.join(random.choices(ascii_uppercase, k=MARK_LETTERS))}"


def _in_letters(number: int) -> str:
    return "".join(chr(ord("A") + int(digit)) for digit in str(number))
