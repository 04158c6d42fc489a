"""The bars on the corpus, and the page that prints what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stdnum import iban, luhn

from shared.privacy import redact
from tests.privacy.corpus import CLAIMED, LANGUAGES, corpus
from tests.privacy.measure import Redactor, score
from tests.privacy.page import page

RECALL = 0.95
KEPT = 0.99


def recall(redactor: Redactor, kind: str) -> float:
    found = score(redactor, corpus())
    gone = sum(n for (one, _), n in found.gone.items() if one == kind)
    return gone / sum(n for (one, _), n in found.marks.items() if one == kind)


def kept(redactor: Redactor) -> float:
    found = score(redactor, corpus())
    return found.kept.total() / found.harmless.total()


@pytest.mark.parametrize("kind", CLAIMED)
def test_of_what_is_claimed_enough_is_found(kind: str) -> None:
    assert recall(redact, kind) >= RECALL


def test_what_is_harmless_is_left_alone() -> None:
    assert kept(redact) >= KEPT


def test_the_bars_fail_one_that_does_nothing_and_one_that_does_too_much() -> None:
    assert recall(lambda text: text, "PHONE") == 0
    assert kept(lambda text: re.sub(r"[\d ./-]{7,}", "[PHONE]", text)) < KEPT


def test_the_page_is_what_was_measured() -> None:
    assert Path("docs/privacy.md").read_text() == page(redact), "next: python -m tests.privacy"


def test_the_corpus_is_as_large_as_said_and_its_numbers_are_right() -> None:
    assert len(LANGUAGES) == 12
    assert len(corpus()) >= 400
    for line in corpus():
        for mark in line.marks:
            value = line.text[mark.start : mark.end]
            plain = "".join(c for c in value if c.isalnum())
            if mark.kind == "IBAN":
                assert iban.is_valid(plain), value
            if mark.kind == "CARD":
                assert luhn.is_valid("".join(str(int(digit)) for digit in plain)), value
