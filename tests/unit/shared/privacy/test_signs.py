"""What is looked at first, because it is cheap, against a look everywhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.privacy.emails import _EMAIL, emails_in
from shared.privacy.finds import runs_in
from shared.privacy.keys import _LONG_WORD

EVERY_RUN = re.compile(r"[0-9](?:[ \n.()/_-]{0,3}+[0-9])*+")
EVERY_LONG_WORD = re.compile(r"[A-Za-z0-9_.:/+=-]{18}")
TOO_LATE = re.compile(r"[0-9](?=[0-9 ]{7})(?:[ ]{0,3}+[0-9])*+")
numbers = st.lists(st.text("0123", max_size=8) | st.text(" \n.()/_-+x", max_size=5)).map("".join)
words = st.lists(st.text("aZ0_=-", min_size=15, max_size=19), max_size=4).map(" ,é".join)
addresses = st.lists(st.sampled_from(["a", "b.c", "@", "@x.org", " ", "'", "\n", "-", "é"])).map(
    "".join
)


def runs_everywhere(text: str, pattern: re.Pattern[str] = EVERY_RUN) -> list[object]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.privacy.finds._RUN", pattern)
        return list(runs_in(text))


@given(numbers)
def test_no_run_is_missed_for_its_first_digits(text: str) -> None:
    assert runs_in(text) == runs_everywhere(text)


def test_a_run_that_is_missed_would_be_noticed() -> None:
    assert runs_everywhere("1234567") != runs_everywhere("1234567", TOO_LATE)


@given(words)
def test_no_long_word_is_missed(text: str) -> None:
    assert bool(_LONG_WORD.match(text)) == bool(EVERY_LONG_WORD.search(text))


@given(addresses)
def test_no_address_is_missed_before_a_blank(text: str) -> None:
    everywhere = [match.span() for match in _EMAIL.finditer(text)]
    assert len(list(emails_in(text))) == len(everywhere)
    assert [find.end for find in emails_in(text)] == [end for _, end in everywhere]
