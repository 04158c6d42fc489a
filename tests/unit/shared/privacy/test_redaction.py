"""The redactor against a labelled corpus, against random text, and against text made to be slow."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.privacy import redact, redact_counted
from shared.privacy.cards import luhn
from shared.privacy.ibans import mod97
from tests.unit.shared.privacy.redaction_corpus import HARMLESS, PERSONAL

RECALL = 0.98
FALSE_POSITIVES = 0.02
LABEL = re.compile(r"<<(?P<kind>[A-Z]+):(?P<value>.+?)>>")
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEpAIBAAKCAQEA7f\n-----END RSA"
    " PRIVATE KEY-----"
)


def plain(labelled: str) -> str:
    return LABEL.sub(r"\g<value>", labelled)


def expected(labelled: str) -> str:
    return LABEL.sub(r"[\g<kind>]", labelled)


def recall(redactor: Callable[[str], str]) -> float:
    return sum(redactor(plain(line)) == expected(line) for line in PERSONAL) / len(PERSONAL)


def false_positives(redactor: Callable[[str], str]) -> float:
    return sum(redactor(line) != line for line in HARMLESS) / len(HARMLESS)


def test_corpus_is_redacted_exactly() -> None:
    missed = [redact(plain(line)) for line in PERSONAL if redact(plain(line)) != expected(line)]
    assert recall(redact) >= RECALL, missed


def test_harmless_text_is_left_alone() -> None:
    eaten = [redact(line) for line in HARMLESS if redact(line) != line]
    assert false_positives(redact) <= FALSE_POSITIVES, eaten


def test_the_bars_catch_a_redactor_that_does_nothing_and_one_that_does_too_much() -> None:
    assert recall(lambda text: text) < RECALL
    assert false_positives(lambda text: re.sub(r"[\d ./-]{7,}", "[PHONE]", text)) > FALSE_POSITIVES


def test_counts_say_what_was_replaced() -> None:
    text, counts = redact_counted("a@b.com, c@d.org, 4111 1111 1111 1111")
    assert text == "[EMAIL], [EMAIL], [CARD]"
    assert counts == {"EMAIL": 2, "CARD": 1}


@pytest.mark.parametrize(
    "key", [PEM, PEM.replace("\n", "\\n"), PEM.replace("RSA ", ""), PEM.replace("RSA", "OPENSSH")]
)
def test_private_keys_go_as_a_whole(key: str) -> None:
    assert redact(f"here: {key} bye") == "here: [SECRET] bye"


def test_a_private_key_that_was_cut_off_goes_too() -> None:
    assert redact("-----BEGIN PRIVATE KEY-----\n" + "Ab1+" * 16) == "[SECRET]"


def test_check_sums() -> None:
    assert luhn("4111111111111111")
    assert not luhn("4111111111111112")
    assert mod97("GB82 WEST 1234 5698 7654 32")
    assert not mod97("GB83 WEST 1234 5698 7654 32")


FRAGMENTS = [
    *(plain(line) for line in PERSONAL),
    *HARMLESS,
    *(match["value"] for line in PERSONAL for match in LABEL.finditer(line)),
    PEM,
    "@",
    "+",
    "-",
    ".",
    " ",
    "\n",
    "0",
    "1",
    "a",
    "tel ",
    "order ",
    "bearer ",
    "[EMAIL]",
    "[PHONE]",
    "://",
    ":",
    "-----BEGIN PRIVATE KEY-----",
]
jumbles = st.lists(
    st.sampled_from(FRAGMENTS) | st.text(max_size=6) | st.text("0123456789+-.() /", max_size=20),
    max_size=12,
).map("".join)


@given(jumbles)
@settings(max_examples=400, deadline=None)
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


EVERYWHERE = re.compile("")


def without_signs(text: str) -> tuple[str, dict[str, int]]:
    """Redact with rules that look everywhere, whatever cheap sign they have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.privacy.keys._SIGNS", ("",))
        patch.setattr("shared.privacy.keys._LONG_WORD", EVERYWHERE)
        patch.setattr("shared.privacy.keys._LONGER_WORD", EVERYWHERE)
        patch.setattr("shared.privacy.passwords.is_named", lambda _: True)
        patch.setattr("shared.privacy.redaction.is_worth_a_look", lambda _: True)
        return redact_counted(text)


@given(jumbles)
@settings(max_examples=400, deadline=None)
def test_the_cheap_signs_never_hide_a_find(text: str) -> None:
    assert redact_counted(text) == without_signs(text)


def test_a_sign_that_is_missed_would_be_noticed() -> None:
    lines = [plain(line) for line in PERSONAL]
    assert all(redact_counted(line) == without_signs(line) for line in lines + HARMLESS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.privacy.keys._SIGNS", ("sk-",))
        assert any(redact_counted(line) != without_signs(line) for line in lines)


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_is_survived(text: str) -> None:
    assert isinstance(redact(text), str)


ADVERSARIAL = [
    "a",
    "1",
    "1 ",
    "1.",
    "sk-",
    "sk-1",
    "a'",
    "a@",
    "@.",
    "x@a.",
    "tel ",
    "tel 1",
    "+1 ",
    "bearer ",
    "bearer a",
    "token=",
    "token= ",
    "eyJaaaaaaaa.",
    "DE89 ",
    "(02",
    "(((",
    "0412 ",
    "0049 ",
    "://",
    "://a:",
    "4111 1111 1111 1111 ",
    "a@b.co ",
    "a@b.co+14155552671",
    "-----BEGIN A ",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY----- -",
    "-",
    " ",
    "\n",
    "\\n",
    "A ",
    "1a@-.+( ",
    "\u0664",
]


SHORT = 2**14
# Four where time grows with the length, sixteen where it grows with its square.
MOST_TIMES_LONGER = 9.0
# Shorter times are the clock's.
UNSURE_SECONDS = 0.005


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_text_made_to_be_slow_takes_its_length_and_no_more(unit: str) -> None:
    assert any(times_longer(redact, unit) < MOST_TIMES_LONGER for _ in range(3))


def test_time_that_grows_with_the_square_would_be_noticed() -> None:
    blanks_before_an_end = re.compile(r"\s+$")
    assert times_longer(blanks_before_an_end.search, " ", short=2**12) > MOST_TIMES_LONGER


def times_longer(work: Callable[[str], object], unit: str, short: int = SHORT) -> float:
    """Return how much longer four times as much text takes: the best of three, as clocks vary."""
    once, four = (
        min(seconds_for(work, unit, length) for _ in range(3)) for length in (short, 4 * short)
    )
    return four / max(once, UNSURE_SECONDS)


def seconds_for(work: Callable[[str], object], unit: str, length: int) -> float:
    text = "5@" + unit * (length // len(unit)) + "!"
    begin = time.process_time()
    work(text)
    return time.process_time() - begin
