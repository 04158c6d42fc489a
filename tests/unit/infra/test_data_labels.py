"""Labels and answers as people write them: what is one label, what is none, what contradicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from infra.data.answers import schema_of, written
from infra.data.losses import DataUnusable
from infra.data.reading import DataFile, Reading, read_file
from infra.data.sizes import about, at_most
from infra.data.spelling import Merged, shown


@pytest.fixture
def read(tmp_path: Path):
    def reading(rows: list[tuple[str, object]], **how: object) -> DataFile:
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(json.dumps({"text": t, "label": a}) for t, a in rows))
        return read_file(file, Reading(**how))

    return reading


def several(*labels: str) -> list[tuple[str, object]]:
    return [(f"message {number}", label) for number, label in enumerate(labels)]


MISSING = ["NaN", "nan", "None", "#N/A", "null", "NULL", "NA", "n/a", "<NA>", "\\N", "#REF!", "#NV"]


@pytest.mark.parametrize("word", MISSING)
def test_what_programs_write_for_no_label_is_skipped_and_counted(read, word: str) -> None:
    data = read(several("a", word, "b", f" {word} ", "a"))
    assert [sample.answer for sample in data.samples] == ["a", "b", "a"]
    reason = f"with the label '{word}', which programs write for none"
    assert data.losses.lines == {reason: [2, 4]}


@pytest.mark.parametrize("word", MISSING)
def test_they_are_labels_where_somebody_says_so(read, word: str) -> None:
    data = read(several("a", word, "b", word), missing_are_labels=True)
    assert data.labels()[word] == 2 and not data.losses.total


@pytest.mark.parametrize("word", ["none", "nothing", "other", "n", "-", "?", "0", "nil", "nano"])
def test_words_that_people_use_are_labels(read, word: str) -> None:
    assert read(several("a", word, "b", word)).labels()[word] == 2


@pytest.mark.parametrize(
    "nothing", ["", " ", "\t", "\u200b", "\ufeff", "\u00a0", "\u200e\u200f", "\u3164", None]
)
def test_a_label_in_which_nothing_is_seen_is_none(read, nothing: str | None) -> None:
    data = read([("one", "a"), ("two", nothing), ("three", "b")])
    assert data.losses.lines == {"without a label": [2]}


@pytest.mark.parametrize(
    ("spelling", "label"),
    [
        ("refund\u200b", "refund"),
        ("\ufeffrefund", "refund"),
        ("re\u00adfund", "refund"),
        ("\u2066refund\u2069", "refund"),
        ("Refund", "refund"),
        ("ｒｅｆｕｎｄ", "refund"),
        (" refund  order", "refund order"),
        ("退\u200b款", "退款"),
        ("cafe\u0301", "café"),
        ("refund\u3164", "refund"),
        ("re\u034ffund", "refund"),
        ("refund\u2800", "refund"),
        ("\U000e0001refund", "refund"),
        ("استر\u200eداد", "استرداد"),
        ("Straße", "strasse"),
        ("می\u200cخواهم", "میخواهم"),
    ],
)
def test_labels_that_look_or_sound_the_same_are_one_and_it_is_said(
    read, spelling: str, label: str
) -> None:
    data = read(several(label, label, label, spelling, "other", "other"))
    assert data.labels() == {label: 4, "other": 2}
    assert data.merged == {label: {spelling.strip(): 1}}


def test_the_commonest_spelling_is_used_and_joiners_inside_it_stay() -> None:
    persian = "می\u200cخواهم"
    labels = Merged([persian, persian, "میخواهم", "REFUND", "refund", "refund"])
    assert labels["میخواهم"] == persian and labels["Refund"] == "refund"
    assert labels.others == {persian: {"میخواهم": 1}, "refund": {"REFUND": 1}}
    assert shown("refund\u200b") == "refund\\u200b" and shown("退款 a") == "退款 a"


@pytest.mark.parametrize("pair", [("C", "C++"), ("C#", "C"), ("yes", "no"), ("退款", "退货")])
def test_labels_that_differ_to_the_eye_stay_two(read, pair: tuple[str, str]) -> None:
    assert read(several(*pair, *pair)).labels() == {pair[0]: 2, pair[1]: 2}


def test_a_message_with_two_labels_takes_that_of_most_of_its_rows(read) -> None:
    data = read(
        [
            ("Where is it?", "delivery"),
            ("where  is it?", "delivery"),
            ("Where is it?", "refund"),
            ("my money", "refund"),
            ("my money", "delivery"),
            ("hello", "refund"),
        ]
    )
    assert [(s.text, s.answer) for s in data.samples] == [
        ("Where is it?", "delivery"),
        ("hello", "refund"),
    ]
    assert data.losses.lines == {
        "that repeat a message with the same answer": [2],
        "whose message has another answer more often": [3],
        "whose message has several answers, none of them in most rows": [4, 5],
    }
    assert data.rows == 6


def test_a_column_in_which_each_row_has_its_own_value_holds_no_labels(read) -> None:
    with pytest.raises(DataUnusable, match=r"40 different values in 40 rows.*--answer-column"):
        read(several(*(f"answer {number}" for number in range(40))))


ORDERS: list[dict[str, object]] = [
    {"product": "tea", "quantity": 2, "city": "Riga"},
    {"city": "Graz", "product": "olive oil", "quantity": 2.5, "note": None},
    {"product": "oil", "quantity": 4, "city": "Pisa", "note": "at noon"},
]


def test_answers_as_json_make_an_extraction_with_the_schema_they_share(read) -> None:
    data = read([(f"order {n}", answer) for n, answer in enumerate(ORDERS)])
    assert data.task == "extraction"
    assert data.output_schema == {
        "type": "object",
        "properties": {
            "product": {"type": "string"},
            "quantity": {"type": "number"},
            "city": {"type": "string"},
            "note": {"type": ["null", "string"]},
        },
        "required": ["product", "quantity", "city"],
        "additionalProperties": False,
    }
    # One order of fields.
    assert data.samples[1].answer == (
        '{"product": "olive oil", "quantity": 2.5, "city": "Graz", "note": null}'
    )
    assert not data.labels()


@pytest.mark.parametrize(
    "answers",
    [
        ORDERS,
        [{"items": [{"name": "tea", "n": 1}, {"name": "oil"}]}, {"items": []}],
        [{"a": {"b": {"c": True}}}, {"a": None}, {"a": {"b": {}}}],
        [{"数量": 3, "城市": "成都"}, {"数量": 3.0, "城市": "西安"}],
        [{"mixed": 1}, {"mixed": "one"}, {"mixed": [1, "two", None]}],
    ],
)
def test_the_schema_holds_for_every_answer_as_it_is_written(answers) -> None:
    schema = schema_of(answers)
    Draft202012Validator.check_schema(schema)
    for answer in answers:
        again = json.loads(written(answer, schema))
        assert again == answer
        Draft202012Validator(schema).validate(again)
        # A control: the schema refuses another field.
        assert not Draft202012Validator(schema).is_valid(again | {"unheard of": 1})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("sorry", "whose answer is no JSON"),
        (
            "{'product': 'tea'}",
            "whose answer is Python's spelling of a dict: write it with json.dumps",
        ),
        ('{"product": NaN}', "whose answer is no JSON"),
        ('{"a": 1, "a": 2}', "whose answer names a field twice"),
        ("[1, 2]", "whose answer is JSON, but no object with fields"),
        ("{}", "whose answer is JSON, but no object with fields"),
        ("null", "without an answer"),
        ("", "without an answer"),
        ('{"product": "tea"', "whose answer is no JSON"),
        ("[" * 3000, "whose answer is no JSON"),
    ],
)
def test_answers_that_are_no_json_objects_are_counted(read, answer: str, reason: str) -> None:
    rows: list[tuple[str, object]] = [(f"order {n}", each) for n, each in enumerate(ORDERS)]
    data = read([*rows, ("another", answer)], answer_column="label")
    assert data.losses.lines == {reason: [4]} and len(data.samples) == 3


def test_labels_and_answers_cannot_both_be_asked_for(read) -> None:
    with pytest.raises(DataUnusable, match="give one of them"):
        read(several("a", "b"), label_column="label", answer_column="label")


@pytest.mark.parametrize(
    "label",
    [
        "card_payment_fee_charged",
        "退款申请进度查询",
        "استرداد الأموال المدفوعة",
        "возврат средств",
        "返金のご依頼",
        "환불 요청",
        "👍🏽 сделано",
        "1234567890",
    ],
)
def test_no_label_takes_more_tokens_than_are_reserved_for_it(label: str) -> None:
    """A byte-level tokenizer without a single merge is the worst there is: a token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bare.decoder = decoders.ByteLevel()
    end_of_answer = 1
    assert len(bare.encode(label).ids) + end_of_answer <= at_most(label)
    assert about(label) <= at_most(label)


def test_a_label_longer_than_a_route_takes_is_counted(read) -> None:
    data = read(several("a", "b" * 200, "c" * 201, "a\nb"))
    assert data.losses.lines == {"with a label of more than 200 characters": [3]}
    assert set(data.labels()) == {"a", "b" * 200, "a b"}


def test_a_message_longer_than_the_model_is_trained_on_is_counted(read) -> None:
    data = read([("short", "a"), ("long " * 500, "b"), ("很长" * 100, "b"), ("fine", "b")])
    assert [sample.text for sample in data.samples] == ["short", "fine"]
    assert next(iter(data.losses.lines.values())) == [2, 3]
