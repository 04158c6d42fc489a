"""Confidence in JSON is read from the tokens of its values: known probabilities come back exactly.

The oracle knows who owns each byte, because it wrote the JSON; it never parses.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from math import exp, fsum, isclose, log

import numpy as np
import pytest

from shared.rules.completion import FREE, Bounds
from shared.rules.confidence import read_answer
from shared.rules.forms import HOPE
from tests.unit.shared.test_confidence import choice, token

OBJECT = Bounds(json_schema={"type": "object"})
STRUCTURE = -1
SPACE = -2
TEXTS = [
    "Riga",
    "",
    'say "no"',
    "back\\slash",
    "two\nlines",
    "Zürich",
    "東京都",
    "🛫 e\u0301",
    "a: {b}, [c]",
    "true",
    "12",
    "\u2028",
]


class Writer:
    """Writes JSON, and remembers which value each byte belongs to."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.text = b""
        self.owners: list[int] = []
        self.values = 0
        self.ascii = rng.random() < 0.5

    def put(self, text: str, owner: int) -> None:
        piece = text.encode()
        self.text += piece
        self.owners += [owner] * len(piece)

    def space(self) -> None:
        self.put(self.rng.choice(["", "", " ", "\n  "]), SPACE)

    def value(self, depth: int) -> None:
        kind = self.rng.choice(["text", "number", "word"] + ["object", "array"] * (depth < 3))
        if kind == "object":
            self.members(depth, "{}", named=True)
        elif kind == "array":
            self.members(depth, "[]", named=False)
        else:
            self.scalar(kind)

    def scalar(self, kind: str) -> None:
        owner = self.values
        self.values += 1
        if kind == "text" and (inner := self.escaped(self.rng.choice(TEXTS))):
            self.put('"', STRUCTURE)
            self.put(inner, owner)
            self.put('"', STRUCTURE)
        elif kind == "text":
            self.put('""', owner)
        elif kind == "number":
            self.put(self.rng.choice(["0", "-7", "12.50", "1e-9", "123456789012345678901"]), owner)
        else:
            self.put(self.rng.choice(["true", "false", "null"]), owner)

    def escaped(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self.ascii)[1:-1]

    def members(self, depth: int, marks: str, *, named: bool) -> None:
        count = self.rng.randrange(4)
        if not count:
            self.put(marks, self.values)
            self.values += 1
            return
        self.put(marks[0], STRUCTURE)
        for number in range(count):
            if number:
                self.put(",", STRUCTURE)
            self.space()
            if named:
                self.put(f'"{self.escaped(self.rng.choice(TEXTS))}{number}"', STRUCTURE)
                self.space()
                self.put(":", STRUCTURE)
                self.space()
            self.value(depth + 1)
        self.space()
        self.put(marks[1], STRUCTURE)


def tokens_of(written: Writer) -> list[dict]:
    """Cut anywhere, inside characters and across marks as well."""
    rng = written.rng
    size = len(written.text)
    cuts = sorted({0, size, *(rng.randrange(size) for _ in range(rng.randrange(1, size + 1)))})
    return [
        {
            "token": written.text[start:end].decode("utf-8", "replace"),
            "bytes": list(written.text[start:end]),
            "logprob": log(rng.uniform(0.05, 1.0)),
        }
        for start, end in pairwise(cuts)
    ]


def exact(written: Writer, tokens: list[dict]) -> list[float]:
    """Return the sum of each value that has tokens of its own, by the owners of their bytes."""
    owned, at = [], 0
    for one in tokens:
        owned.append(set(written.owners[at : at + len(one["bytes"])]))
        at += len(one["bytes"])
    sums, taken = [], set()
    for value in range(written.values):
        touching = [i for i, owners in enumerate(owned) if value in owners]
        pure = [i for i in touching if owned[i] <= {value, SPACE}]
        mine = [i for i in pure or touching if i not in taken]
        if pure or mine:
            taken |= set(mine)
            sums.append(fsum(tokens[i]["logprob"] for i in mine))
    return sums


def test_the_sum_over_values_is_exact_in_a_thousand_random_texts() -> None:
    rng = random.Random(5)
    apart = 0
    for _ in range(1000):
        written = Writer(rng)
        written.members(0, "{}", named=True)
        tokens = tokens_of(written)
        found = read_answer(choice(written.text.decode(), *tokens), OBJECT).confidence
        sums = exact(written, tokens)
        assert isclose(log(found.score), fsum(sums), abs_tol=1e-9), written.text
        assert isclose(found.features["weakest"], min(sums), abs_tol=1e-9)
        assert found.features["values"] == len(sums)
        # The control: but for `{}`, the sum over the whole text is another number.
        whole = read_answer(choice(written.text.decode(), *tokens), FREE).confidence
        apart += not isclose(log(whole.score), fsum(sums), abs_tol=1e-9)
    assert apart > 700


def score(text: str, *tokens: dict) -> float:
    return read_answer(choice(text, *tokens), OBJECT).confidence.score


@pytest.mark.parametrize(
    ("pieces", "counted"),
    [
        (['{"', "city", '":', ' "', "Ri", "ga", '"}'], ["Ri", "ga"]),
        # What closes a string and opens the next says how sure the form is.
        (['{"a":"', "x", '","', "b", '":"', "y", '"}'], ["x", "y"]),
        # Where nothing else spells a value, a token with marks in it does.
        (['{"a":', '"x",', '"b":', "1}"], ['"x",', "1}"]),
        (["{", '"n": ', "12", "}"], ["12"]),
        # White space before a number is no mark.
        (['{"n":', " 1", "2", "}"], [" 1", "2"]),
        (['{"a":', " []", ',"b":', "{}", ',"c":', '""', "}"], [" []", "{}", '""']),
        (['{"a":', "null", ',"b":', " true", "}"], ["null", " true"]),
        (['{"a":"', "\\u00", "e9", '\\"', '"}'], ["\\u00", "e9", '\\"']),
        (['{"true":', " false", ',"12":', "3", "}"], [" false", "3"]),
        (['["', "a", '"', ",", '"', "b", '"]'], ["a", "b"]),
        (['{"a":{"b":[', "1", ",", "2", "]}}"], ["1", "2"]),
        # A colon inside of a string makes no name of it.
        (['["', "a", ":", '\\"', '"]'], ["a", ":", '\\"']),
    ],
)
def test_marks_and_names_are_left_out(pieces: list[str], counted: list[str]) -> None:
    tokens = [token(piece, -0.01 * 2**i) for i, piece in enumerate(pieces)]
    expected = fsum(one["logprob"] for one in tokens if one["token"] in counted)
    assert isclose(log(score("".join(pieces), *tokens)), expected, abs_tol=1e-9)


def test_parts_of_one_character_count_all_together() -> None:
    """vLLM prints nothing for the first tokens of a character, and all of it for the last."""
    before, after = token('{"a":"', -0.5), token('"}', -0.5)
    parts = [token("", -0.1), token("", -0.2), token("東", -0.3)]
    assert isclose(log(score('{"a":"東"}', before, *parts, after)), -0.6, abs_tol=1e-9)
    # Others print a sign for each.
    parts = [token("\ufffd", -0.1), token("\ufffd", -0.2), token("京", -0.3)]
    assert isclose(log(score('{"a":"東京"}', before, *parts, after)), -0.6, abs_tol=1e-9)


def test_of_a_call_its_name_and_the_values_of_its_arguments_count() -> None:
    """As Hermes and Qwen spell one; the engine takes the marks around it away."""
    pieces = ["<tool_call>", '\n{"', "name", '": "', "book", '", "arguments": {"', "city", '": "']
    pieces += ["Riga", '", "nights": ', "2", "}}\n", "</tool_call>"]
    tokens = [token(piece, -0.01 * 2**i) for i, piece in enumerate(pieces)]
    counted = fsum(one["logprob"] for one in tokens if one["token"] in ("book", "Riga", "2"))
    found = read_answer(choice("".join(pieces), *tokens), HOPE).confidence
    assert isclose(log(found.score), counted, abs_tol=1e-9) and found.features["values"] == 3


def test_what_holds_no_value_is_read_whole_and_nothing_is_never_confident() -> None:
    assert isclose(score("sorry", token("sorry", -0.7)), exp(-0.7))
    assert isclose(score("{}", token("{}", -0.7)), exp(-0.7))
    assert score("") == 0.0


def test_labels_and_free_text_are_read_whole() -> None:
    label = read_answer(choice("a", token("a", -0.2)), Bounds(choices=("a", "b"))).confidence
    assert (label.features, isclose(label.score, exp(-0.2))) == (None, True)
    tokens = [token(f" {i}", -0.1 * i, ("other", -3.0)) for i in range(1, 21)]
    text = read_answer(choice("".join(one["token"] for one in tokens), *tokens)).confidence
    assert isclose(log(text.score), -21.0)
    assert {name: round(value, 6) for name, value in text.features.items()}.items() >= {
        "mean": -1.05,
        "q10": -1.8,
        "q50": -1.0,
    }.items()
    assert 0 < text.features["entropy"] < text.features["entropy_max"]


def test_an_event_is_no_longer_where_there_are_no_features() -> None:
    label = read_answer(choice("a", token("a", -0.2)), Bounds(choices=("a", "b"))).confidence
    assert "features" not in label.model_dump_json()


def auroc(scores: list[float], right: list[bool]) -> float:
    of = np.array(scores)
    good, bad = of[np.array(right)], of[~np.array(right)]
    above = (good[:, None] > bad[None]).mean()
    return float(above + (good[:, None] == bad[None]).mean() / 2)


def simulated(rng: random.Random, noise: float) -> tuple[dict, bool]:
    """An answer of three fields whose values are right with the probability of their tokens; the
    model is unsure of the form without being wrong.
    """
    pieces, right = [], True
    for number in range(3):
        sure = rng.betavariate(6, 1)
        right &= rng.random() < sure
        form = -noise * rng.random()
        pieces += [("," * (number > 0) + f'"f{number}":', form), (str(number), log(sure))]
    texts = [("{", -noise * rng.random()), *pieces, ("}", -noise * rng.random())]
    return choice("".join(text for text, _ in texts), *(token(*one) for one in texts)), right


@pytest.mark.parametrize(("noise", "gain"), [(0.0, 0.0), (0.3, 0.02), (1.0, 0.08)])
def test_values_tell_right_from_wrong_better_than_whole_texts(noise: float, gain: float) -> None:
    """Measured: .686, and of whole texts .686 without noise, .641 at 0.3 nats, .562 at 1."""
    rng = random.Random(11)
    answers = [simulated(rng, noise) for _ in range(4000)]
    right = [is_right for _, is_right in answers]
    values = auroc([read_answer(one, OBJECT).confidence.score for one, _ in answers], right)
    whole = auroc([read_answer(one, FREE).confidence.score for one, _ in answers], right)
    assert values >= whole + gain - 1e-9, (values, whole)
