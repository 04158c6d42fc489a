"""Cards, IBANs and phone numbers among neighbours, however they are separated, and what only looks
like one.
"""

from __future__ import annotations

import itertools
import random
import re
import string
import uuid
from pathlib import Path

import phonenumbers
import pytest
import yaml
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from stdnum import iban, luhn

from shared.privacy import redact
from shared.privacy.cards import is_card
from shared.privacy.ibans import LENGTHS

BEFORE = (
    *("", "123 ", "card ", "(", '"', "no.1: ", "12/25 ", "1 ", ":", "=", ",", ";", "/ ", "- "),
    *("– ", "\n", "は", "号", "\u00a0", "*", "# ", "[", "Karte.", "my number is ", "2024-01-05 "),
    *("7 ", "+ ", "4242 ", "00 "),
)
CALLED_OTHER = ("order number ", "order ", "Bestellnummer ", "policy ", "call id ")
BEHIND = (
    *("", " 123", " card", ")", '"', ".", ",", ";", " 12/25", "/12", "\n", "です", "。", "\u00a0"),
    *("*", " #", "]", "!", "?", " 1", " ist meine", "-", "– x", " 2024", "…", " 4242"),
)
SEPARATORS = ("", " ", "  ", "-", "–", "\u00a0", "\u202f", "\u2011", "_", ".", "\n", "\u2009", "·")
CARDS = (
    *("4111111111111111", "5555555555554444", "2223003122003222", "378282246310005"),
    *("6011111111111117", "3530111333300000", "30569309025904", "6221260000000000"),
)
PHONES = (
    *("+4915123456789", "+49 151 23456789", "+1 415 555 2671", "+1 (415) 555-2671"),
    *("(415) 555-2671", "415-555-2671", "+33 6 12 34 56 78", "06 12 34 56 78", "0171 2345678"),
    *("+44 20 7946 0958", "020 7946 0958", "+81 90-1234-5678", "090-1234-5678", "0039 347 1234567"),
)
PASTED = (
    *((" ", "\u00a0"), (" ", "\u202f"), ("-", "\u2011"), ("-", "–"), (" ", "  ")),
    *((" ", "_"), ("-", "_"), (" ", "·"), ("-", "·")),
)
REGIONS = """
    US CA GB IE AU NZ IN DE AT CH FR BE NL LU ES PT IT PL CZ SK HU RO BG GR SE NO DK FI EE LV LT UA
    RU KZ TR IL SA AE EG MA JP CN TW HK KR SG MY TH VN PH ID PK BR MX AR CL CO PE ZA NG KE
""".split()  # noqa: SIM905


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def grouped(number: str, separator: str) -> str:
    """Write a number as on a card or a statement."""
    if len(number) in (14, 15) and number.isdigit():
        return separator.join((number[:4], number[4:10], number[10:]))
    return separator.join(number[at : at + 4] for at in range(0, len(number), 4))


def made_iban(rng: random.Random) -> str:
    country = rng.choice(sorted(LENGTHS))
    account = "".join(rng.choice("0123456789") for _ in range(LENGTHS[country] - 4))
    return country + iban.calc_check_digits(f"{country}00{account}") + account


def is_gone(value: str, before: str, behind: str) -> bool:
    left = redact(f"{before}{value}{behind}")
    return value not in left and digits(value) not in digits(left)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_no_neighbour_hides_a_card_or_an_iban(separator: str) -> None:
    rng = random.Random(separator)
    values = [*CARDS, *(made_iban(rng) for _ in range(40))]
    places = itertools.product((*BEFORE, *CALLED_OTHER), BEHIND)
    for before, behind in rng.sample(list(places), 300):
        value = grouped(rng.choice(values), separator)
        assert is_gone(value, before, behind), (before, value, behind)


@pytest.mark.parametrize("phone", PHONES)
def test_no_neighbour_hides_a_phone_number(phone: str) -> None:
    written = {phone, *(phone.replace(*pasted) for pasted in PASTED)}
    for before, behind in itertools.product(BEFORE, BEHIND):
        for value in written:
            assert is_gone(value, before, behind), (before, value, behind)


def test_a_wrong_digit_makes_no_card_and_no_iban() -> None:
    assert redact("4111 1111 1111 1112") == "4111 1111 1111 1112"
    assert redact("DE89 3704 0044 0532 0130 01") == "DE89 3704 0044 0532 0130 01"


def test_check_sums_are_those_of_the_registry() -> None:
    rng = random.Random(1)
    for _ in range(500):
        number = "4" + "".join(rng.choice("0123456789") for _ in range(15))
        assert is_card(number) == luhn.is_valid(number)
    for country, length in LENGTHS.items():
        structure = iban._ibandb.info(f"{country}00")[0][1].get("bban")
        if structure:
            parts = re.findall(r"(\d+)!?[nac]", structure)
            assert 4 + sum(map(int, parts)) == length, country


@pytest.mark.parametrize("region", REGIONS)
def test_numbers_of_every_country_are_found_where_they_are_international_or_called(
    region: str,
) -> None:
    """Libphonenumber says what is valid there, and how it is written."""
    for kind in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE):
        number = phonenumbers.example_number_for_type(region, kind)
        written = {
            "": (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL),
            "tel. ": (PhoneNumberFormat.NATIONAL,),
        }
        for before, formats in written.items():
            for form in formats:
                text = f"{before}{phonenumbers.format_number(number, form)} thanks"
                assert digits(redact(text)) == "", text


PASTES = {
    "06\u00a012\u00a034\u00a056\u00a078": "[PHONE]",
    "+1 (415) 555\u20112671": "[PHONE]",
    "手机号13812345678": "手机号[PHONE]",
    "番号は090-1234-5678です": "番号は[PHONE]です",
    "(11)912345678": "[PHONE]",
    "４１１１　１１１１　１１１１　１１１１": "[CARD]",
    "٤١١١ ١١١١ ١١١١ ١١١١": "[CARD]",
    "4111 1111\n1111 1111": "[CARD]",
    "+49\u200b171\u200b2345678": "[PHONE]",
    "+49 171\n2345678": "[PHONE]",
    "IBANDE89370400440532013000": "IBAN[IBAN]",
    "DE89 3704 0044 0532 0130 00123": "[IBAN]123",
    "4111 1111 1111 1111-4111 1111 1111 1111": "[CARD]-[CARD]",
    "メールはa.b@example.comまで": "メールは[EMAIL]まで",
    "＠ａ a＠example.com": "＠ａ [EMAIL]",
}


@pytest.mark.parametrize("text", PASTES)
def test_what_people_paste_is_read_as_they_mean_it(text: str) -> None:
    assert redact(text) == PASTES[text]


@pytest.mark.parametrize(
    "text",
    [
        "Our campaign will reach 10000000 people",
        "Bestellnummer 0412345678",
        "call id 1730808645",
        "policy 302-555-8890",
        "git@github.com",
        "git clone git@github.com:org/repo.git",
        "n° de dossier 0612345678",
        "Kundennr. 030 1234567",
        "注文番号0901234567",
        "订单号13812345678",
        "номер заказа 89261234567",
        "numer zamówienia 501 234 567",
        "JAN 4520373355034",
        "770 828 196 байт",
        "612 345 678 €",
        "192.168.178.204",
        "backup_20240612_153045.tar",
        "chapter_01_02_03_04_05",
        "x = 12_345_678",
        "52.229676, 21.012229",
        "0.4111111111111111",
        "1730808645123",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redact(text) == text


def made_id(rng: random.Random) -> str:
    """Draw an id of a call, as hashes and clocks make them; one in ten has a long run of digits."""
    millisecond = 1_795_000_000_000 + rng.randrange(10**11)
    v7 = (millisecond << 80) | (7 << 76) | (2 << 62) | rng.getrandbits(62)
    drawn = (
        str(uuid.UUID(int=v7)),
        str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(24)),
        f"{rng.getrandbits(256):064x}"[: rng.choice((12, 16, 20, 40, 64))] + "f",
        f"01{rng.randrange(10**7)}MKQ{rng.randrange(10**7)}NNYNBB",
        f"req_01{rng.randrange(10**9)}",
    )
    return rng.choice(("call_", "call ", "tel: ", "phone-", "call chatcmpl-")) + rng.choice(drawn)


def test_an_id_is_no_phone_number() -> None:
    rng = random.Random(56)
    for _ in range(3000):
        text = made_id(rng)
        assert "[PHONE]" not in redact(text), text


@pytest.mark.parametrize(
    "text",
    [
        *("手机号13812345678", "tel:+4915112345678", "phone=4155552671", "call 4155552671"),
        *("Tel0301234567", "phone_4155552671", "call me at4155552671", "phone 4155552671x12"),
        *("call 4155552671ext3", "call 4155552671-or-4155552672", "call 415_555_2671"),
        *("phone1-4155552671", "тел89261234567", "call 4155552671now"),
    ],
)
def test_what_is_glued_to_a_number_leaves_it_one(text: str) -> None:
    left = digits(redact(text).replace("phone1", ""))
    assert left in ("", "12", "3", "4155552672"), redact(text)


CALLED = yaml.safe_load(Path(__file__).with_name("called.yaml").read_text("utf-8"))


@pytest.mark.parametrize("language", CALLED["phone"])
def test_a_number_is_a_phone_where_it_is_called_one(language: str) -> None:
    numbers = ["4155552671", "612345678"]
    for word, number in itertools.product(CALLED["phone"][language], numbers):
        assert redact(f"{word} {number}") == f"{word} [PHONE]"
        assert redact(f"{word.upper()} {number}") == f"{word.upper()} [PHONE]"
        assert redact(f"{word}: {number}.") == f"{word}: [PHONE]."


@pytest.mark.parametrize("language", CALLED["other"])
def test_a_number_is_none_where_it_is_called_something_else(language: str) -> None:
    numbers = ["0612345678", "415-555-2671", "030 1234567", "13812345678"]
    for word, number in itertools.product(CALLED["other"][language], numbers):
        assert redact(f"{word} {number}") == f"{word} {number}"
        assert redact(f"{word.upper()} {number}") == f"{word.upper()} {number}"
        assert redact(f"{word}: {number}.") == f"{word}: {number}."
