"""JSON as people have it: by line, all at once, as columns, with labels that are further inside."""

from __future__ import annotations

import json

import pytest

from infra.data.losses import DataUnusable
from tests.unit.infra.test_data_reading import pairs, read

__all__ = ["read"]

ROWS = [{"text": f"message {n} after a while", "label": "ab"[n % 2]} for n in range(6)]
EXPECTED = [(row["text"], row["label"]) for row in ROWS]
NAMES = list(ROWS[0])
FORMS = {
    "an object a line, lines of an old Mac": "\r".join(map(json.dumps, ROWS)),
    "a list": json.dumps(ROWS),
    "objects one after another, as jq writes them": "\n".join(
        json.dumps(row, indent=2) for row in ROWS
    ),
    "a sequence by RFC 7464": "".join(f"\x1e{json.dumps(row, indent=1)}\n" for row in ROWS),
    "a list in an object": json.dumps({"version": 1, "data": ROWS}),
    "that over several lines": json.dumps({"data": ROWS, "about": {"by": "me"}}, indent=2),
    "a list for each column": json.dumps({name: [row[name] for row in ROWS] for name in NAMES}),
    "columns as pandas writes them": json.dumps(
        {name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in NAMES}
    ),
    "pairs": json.dumps([list(row.values()) for row in ROWS]),
    "a pair a line": "\n".join(json.dumps(list(row.values())) for row in ROWS),
    "labels as lists of one": "\n".join(
        json.dumps(row | {"label": [row["label"]]}) for row in ROWS
    ),
    "a line end of Unicode in a text": "\n".join(
        json.dumps({"note": "one\u2028two\x85three"} | row, ensure_ascii=False) for row in ROWS
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(read, form: str) -> None:
    data = read(FORMS[form], name="messages.json")
    assert pairs(data) == EXPECTED and data.rows == 6
    assert data.task == "classification"


NESTED = [
    {"data": {"text": row["text"]}, "annotations": [{"label": row["label"], "by": "me"}]}
    for row in ROWS
]


def test_a_label_inside_is_named_by_its_place(read) -> None:
    content = "\n".join(map(json.dumps, NESTED))
    named = read(content, text_column="data.text", label_column="annotations.0.label")
    assert pairs(named) == EXPECTED
    with pytest.raises(DataUnusable, match=r"6 whose label is inside JSON: name its place"):
        read(content)
    with pytest.raises(DataUnusable, match=r"there is no column 'annotations.1.label'"):
        read(content, text_column="data.text", label_column="annotations.1.label")


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (["a", "b"], "with several labels in one cell"),
        ([["a"]], "whose label is inside JSON"),
        ([{"name": "a"}], "whose label is inside JSON"),
        ({"name": "a"}, "whose label is inside JSON"),
        ([], "without a label"),
        ([None], "without a label"),
    ],
)
def test_labels_that_are_none_or_several_are_counted(read, label: object, reason: str) -> None:
    rows = [*ROWS, {"text": "another one", "label": label}]
    data = read("\n".join(map(json.dumps, rows)), label_column="label")
    assert pairs(data) == EXPECTED
    [(said, lines)] = data.losses.lines.items()
    assert said.startswith(reason) and lines == [7]


@pytest.mark.parametrize("label", ["[urgent]", "{x}", "[1", "[]]"])
def test_labels_that_only_look_like_json_are_labels(read, label: str) -> None:
    data = read(f"text,label\nhello,{label}\nbye,{label}\n")
    assert {answer for _, answer in pairs(data)} == {label}


def test_an_answer_that_is_an_object_is_still_an_extraction(read) -> None:
    rows = [{"text": row["text"], "label": {"name": row["label"]}} for row in ROWS]
    assert read("\n".join(map(json.dumps, rows))).task == "extraction"


@pytest.mark.parametrize("content", ["[]", "{}", "[ ]\n", '{"data": []}'])
def test_json_without_rows_is_said_to_be_empty(read, content: str) -> None:
    with pytest.raises(DataUnusable, match=r"holds no rows|two are needed"):
        read(content)


@pytest.mark.parametrize(
    "content",
    ["[" + json.dumps(ROWS[0]) + ",", '{\n"text": "a",\n"label": "b"\n}\n{\n"text"', "[[" * 4000],
)
def test_json_that_breaks_off_is_refused_in_words(read, content: str) -> None:
    with pytest.raises(DataUnusable, match=r"cannot be read as JSON|no separator gives rows"):
        read(content)
