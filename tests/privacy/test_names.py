"""What measures recognisers of names, tried with the worst one: a guess by capital letters."""

from __future__ import annotations

import re

from tests.privacy.names import behind_our_rules, measured

CAPITALS = re.compile(r"\b[A-ZÄÖÜ][^\W\d_]+(?: [A-ZÄÖÜ][^\W\d_]+)*")


def by_capitals(text: str) -> list[tuple[int, int, str]]:
    return [(*words.span(), "NAME") for words in CAPITALS.finditer(text)]


def test_what_our_rules_put_in_a_text_is_no_name() -> None:
    redactor = behind_our_rules(by_capitals)
    assert redactor("Suse wrote zoe@shop.example") == "[NAME] wrote [EMAIL]"


def test_what_is_found_and_what_is_taken_are_counted() -> None:
    row = measured("de", behind_our_rules(by_capitals))
    assert row[:5] == ["de", "8/8", "8/8", "0/4", "107/127"]
    assert int(row[5]) > 200
