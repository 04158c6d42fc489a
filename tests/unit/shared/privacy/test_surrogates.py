"""Values that stand for others: of their shape, the same ones within an inference, and found by the
rules that found what they stand for.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr
from stdnum import iban, luhn
from stdnum.iso7064 import mod_97_10

from shared.privacy import Personal, Redact, both_ways, redact, redact_but
from shared.privacy.cards import is_card
from shared.privacy.ibans import LENGTHS
from shared.privacy.surrogates import _phone
from tests.privacy.corpus import corpus

SECRET = SecretStr("0123456789abcdef-only-for-tests")
ALL: dict[str, Any] = dict.fromkeys(("EMAIL", "PHONE", "CARD", "IBAN"), "surrogate")
PHONE: dict[str, Any] = {"PHONE": "surrogate"}
WAYS = ("({}) {}-{}", "{}-{}-{}", "+1 {} {} {}", "+1-{}-{}-{}", "+1{}{}{}", "001 {} {} {}")

areas = st.integers(200, 989).map(str)
exchanges = st.integers(200, 999).map(str)
lines = st.integers(0, 9999).map("{:04}".format)
numbers = st.integers(0, 10**18 - 1).map("{:018}".format)
accounts = st.text("0123456789ABCXYZ", min_size=26, max_size=26).map("00000000".__add__)
inferences = st.uuids().map(str)
names = st.from_regex(r"[a-zA-Z0-9]{2,8}([._+-][a-zA-Z0-9]{2,8}){0,2}", fullmatch=True)
sites = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z]{2,5}){1,2}", fullmatch=True)


def redactor(
    inference: str = "one", chosen: dict[str, Any] = ALL, seen: tuple[str, ...] = ()
) -> Redact:
    return Personal(SECRET).of(chosen, "acme/leads", inference, seen)


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def shape(text: str) -> str:
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", text)))


def test_surrogates_are_found_where_the_values_were() -> None:
    """In 558 lines of twelve languages; and of no value anything is left but its head."""
    made = [(line.text, redactor(str(line.number))(line.text)) for line in corpus()]
    assert sum(old != new for old, new in made) > 200
    assert [old for old, new in made if redact(new) != redact(old)] == []


@given(areas, exchanges, lines, st.permutations(WAYS), inferences)
def test_a_phone_number_is_another_one_in_whatever_way_it_is_written(
    area: str, exchange: str, line: str, ways: list[str], inference: str
) -> None:
    first, second = (way.format(area, exchange, line) for way in ways[:2])
    assume("[PHONE]" in redact(first) and "[PHONE]" in redact(second))
    one = redactor(inference)
    new, other = one(f"call {first} now"), redactor(inference)(f"call {second} now")
    assert shape(new) == shape(f"call {first} now") and redact(new) == "call [PHONE] now"
    assert digits(new)[-10:] == digits(other)[-10:]
    assert digits(new)[-7:] != digits(first)[-7:]
    assert digits(one(json.dumps({"phone": int(area + exchange + line)}))) == digits(new)[-10:]


def test_digits_that_would_be_the_old_ones_a_year_or_an_amount_are_drawn_again() -> None:
    tries = ("5552671", "0552671", "9552671", "5192671", "5552071", "5000071", "5552673")
    assert _phone("5552671", iter(map(int, "".join(tries)))) == tries[-1]


@given(st.sampled_from(["4111", "5105", "378", "6011", "2720", "9792", "369"]), numbers)
def test_a_card_stays_one_of_its_issuer(issuer: str, more: str) -> None:
    number = (issuer + more)[: {"378": 14, "369": 13}.get(issuer, 15)]
    number += luhn.calc_check_digit(number)
    new = redactor()(number)
    assert luhn.is_valid(new) and is_card(new)
    assert (len(new), new[:4]) == (len(number), number[:4]) and new != number
    grouped = f"{number[:4]}-{number[4:10]} {number[10:]}"
    assert digits(redactor()(grouped)) == new and shape(redactor()(grouped)) == shape(grouped)


@given(st.sampled_from(sorted(LENGTHS)), accounts)
def test_an_iban_stays_one_of_its_country(country: str, account: str) -> None:
    account = account[: LENGTHS[country] - 4]
    number = country + iban.calc_check_digits(f"{country}00{account}") + account
    assume(redact(number) == "[IBAN]")
    for written in (number, " ".join(re.findall(".{1,4}", number)), number.lower()):
        new = redactor()(written)
        plain = new.replace(" ", "").upper()
        assert mod_97_10.is_valid(plain[4:] + plain[:4])
        assert (shape(new), new[:2]) == (shape(written), written[:2]) and new != written
        assert plain == redactor()(number)


@pytest.mark.parametrize(
    "number",
    ["GB29 NWBK 6016 1331 9268 19", "MT84MALT011000012345MTLCAST001S", "DE89370400440532013000"],
)
def test_an_iban_keeps_the_form_of_its_country(number: str) -> None:
    assert iban.is_valid(number, check_country=False)
    assert iban.is_valid(redactor()(number), check_country=False)


@given(names, sites, names, inferences)
def test_an_address_keeps_its_pattern_and_its_neighbours(
    name: str, site: str, colleague: str, inference: str
) -> None:
    one = redactor(inference)
    assume(one(f"{name}@{site}") != f"{name}@{site}" and name.lower() != "git")
    assume(colleague.lower() not in ("git", "svn", "hg"))
    local, _, domain = one(f"{name}@{site}").partition("@")
    assert shape(local) == shape(name) and local.lower() != name.lower()
    assert domain.endswith(".example") and shape(domain).count(".") == site.count(".")
    assert one(f"{name}@{site}".upper()).lower() == f"{local}@{domain}".lower()
    assert one(f"{colleague}@{site}").partition("@")[2] == domain
    assert redact(f"{local}@{domain}") == "[EMAIL]"


TEXT = "I am Jane, (415) 555-2671 or jane@acme.com, 4111 1111 1111 1111, DE89370400440532013000"


def test_each_inference_has_surrogates_of_its_own_and_each_secret() -> None:
    made = {redactor(str(number))(TEXT) for number in range(50)}
    made.add(Personal(SecretStr("another secret of tests")).of(ALL, "acme/leads", "1")(TEXT))
    made.add(Personal(SECRET).of(ALL, "globex/leads", "1")(TEXT))
    assert len(made) == 52
    assert redactor("1")(TEXT) in made


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"phone": 4155552671}', "4155552671"),
        ('{"card": 4111111111111111, "n": [1]}', "4111111111111111"),
        (r"ruf 06\u00a012\u00a034\u00a056\u00a078 an", "2345678"),
        ("手机号１３８１２３４５６７８", "２３４５６７８"),
        ("my phone: 5552671", "5552671"),
    ],
)
def test_what_is_typed_stays_typed(text: str, value: str) -> None:
    new = redactor()(text)
    assert shape(new) == shape(text) and value not in new
    if text.startswith("{"):
        assert type(next(iter(json.loads(new).values()))) is int
    # In the digits of the text's own script.
    assert [bool(re.match("[0-9]", c)) for c in new] == [bool(re.match("[0-9]", c)) for c in text]


def test_what_is_said_of_a_number_in_one_text_holds_in_all() -> None:
    one = redactor(chosen=PHONE)
    texts = ["4155552671", "call me: 4155552671", "the answer: +14155552671, 5552671"]
    new = both_ways(lambda: [one(text) for text in texts], one)
    assert not any("2671" in text for text in new)
    assert {digits(text)[-7:] for text in new} == {digits(new[0])[-7:]}
    # Nothing is known of it in another inference.
    assert redactor("two", PHONE)(texts[0]) == texts[0]


def test_a_value_that_was_recorded_is_left_and_any_other_is_replaced() -> None:
    recorded = redactor()(TEXT)
    phone = re.findall(r"\(\d+\) \d+-\d+", recorded)[0]
    later = redactor(seen=(recorded,))
    assert later(f"call {phone}") == f"call {phone}"
    as_number = json.dumps({"phone": int(digits(phone))})
    assert later(as_number) == as_number
    assert later(recorded) == recorded
    assert later("call (415) 555-2671") == f"call {phone}"
    assert "555-9999" not in later("call (415) 555-9999")


def test_each_kind_has_a_treatment_of_its_own_and_secrets_have_none() -> None:
    text = f"{TEXT}, password: Summer2024!, key sk-ant-0123456789abcdefghij"
    kept = redactor(chosen={"PHONE": "keep", "EMAIL": "surrogate"})(text)
    assert "(415) 555-2671" in kept and "[CARD], [IBAN], password: [SECRET], key [SECRET]" in kept
    assert "jane" not in kept and ".example" in kept
    assert redactor(chosen={})(text) == redact(text)
    assert redactor(chosen=dict.fromkeys(ALL, "keep"))(TEXT) == redact_but(ALL)(TEXT) == TEXT
    assert redact_but(["PHONE"])(TEXT) == redact(TEXT).replace("[PHONE]", "(415) 555-2671")
    assert redact_but([]) is redact


def test_without_a_secret_what_wants_surrogates_is_redacted_and_what_is_kept_is_kept() -> None:
    without = Personal(None).of({"PHONE": "surrogate", "EMAIL": "keep"}, "acme/leads", "one")
    assert without(TEXT) == redact(TEXT).replace("[EMAIL]", "jane@acme.com")


@pytest.mark.parametrize("name", ["____", "½½", "_½-", "a", "hg", "Ⅷ"])
def test_a_name_without_another_gets_another_domain(name: str) -> None:
    assert redactor()(f"mail {name}_@acme.com ok").endswith(".example ok")


@given(st.text(alphabet="[A]_½0123456789@.ab ", max_size=80))
def test_any_text_keeps_what_is_not_personal(text: str) -> None:
    """Also one that looks like the marks that stand in it meanwhile."""
    assert redact_but(ALL)(text) == text or "[SECRET]" in redact(text)
    if redact(text) == text:
        assert redactor()(text) == text
