"""The plain view: what rules read, and where it is in the text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from shared.privacy.view import view


def test_digits_blanks_and_dashes_of_all_scripts_are_plain() -> None:
    assert view("٠１०\u00a0\u2011\u2013\u2212＠（").plain == "010 ---@("


@given(st.text().filter(lambda text: "\\" not in text))
def test_every_place_leads_back(text: str) -> None:
    seen = view(text)
    for at, character in enumerate(seen.plain):
        start, end = seen.place(at, at + 1)
        assert all(unicodedata.category(skipped) == "Cf" for skipped in text[start + 1 : end])
        assert text[start] == character or not text[start].isascii()


def test_what_has_no_width_is_skipped() -> None:
    seen = view("a\u200b1\u00ad2")
    assert seen.plain == "a12"
    assert seen.place(1, 3) == (2, 5)


def test_escapes_of_json_are_what_they_stand_for() -> None:
    seen = view(r"a\n1\\u00a02")
    assert seen.plain == "a\n1 2"
    assert seen.place(2, 5) == (3, 12)
