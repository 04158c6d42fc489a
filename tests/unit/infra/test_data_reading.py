"""A CSV as people have it is read right or refused in words, and every row is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.data.losses import DataUnusable
from infra.data.reading import DataFile, Reading, read_file

# Rows in which commas, semicolons, tabs, bars, quotes and line breaks stand in the text.
TEXTS = [
    "Where is my parcel, it was due; on Monday",
    'He said "wait", and left',
    "first line\nsecond line, with a comma",
    "a\ttab and a | bar",
    "a plain one",
    'the 5" tablet is broken',
    "",
]


@pytest.fixture
def read(tmp_path: Path):
    """Reads a file of this content; the columns that are named go by keyword."""

    def reading(content: str | bytes, name: str = "messages.csv", **how: object) -> DataFile:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_file(file, Reading(**how))

    return reading


def pairs(data: DataFile) -> list[tuple[str, str]]:
    return [(sample.text, sample.answer) for sample in data.samples]


def quoted(cell: str, separator: str) -> str:
    special = separator in cell or '"' in cell or "\n" in cell
    return '"' + cell.replace('"', '""') + '"' if special else cell


@pytest.mark.parametrize(
    "separator", [",", ";", "\t", "|", "^", "~", "\x1f", "，", "；", "،", "؛", "、", "¦"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_separator_is_found(read, separator: str, end: str) -> None:
    texts = [text for text in TEXTS if text]
    rows = [f"{quoted(text, separator)}{separator}label {n % 3}" for n, text in enumerate(texts)]
    rows += [f"message number {n}{separator}label {n % 3}" for n in range(30)]
    data = read(end.join([f"text{separator}label", *rows]) + end)
    assert [sample.text for sample in data.samples][: len(texts)] == texts
    assert (data.rows, data.losses.total) == (36, 0)


@pytest.mark.parametrize(
    "line", ["sep=;", '"sep=;"', "SEP=;", "sep=;\r"], ids=["plain", "quoted", "capitals", "cr"]
)
def test_a_line_that_names_the_separator_is_followed(read, line: str) -> None:
    # Each text has one comma, so commas would give two cells as well.
    rows = "".join(f"a, b {n};x{n % 2}\n" for n in range(20))
    data = read(f"{line}\ntext;label\n{rows}short\n")
    assert pairs(data)[0] == ("a, b 0", "x0") and len(data.samples) == 20
    # Lines are counted as an editor counts them.
    assert data.losses.lines == {"with fewer cells than the header": [23]}


def test_a_line_that_names_another_separator_than_the_file_has_is_left_out(read) -> None:
    rows = "".join(f"a {n};x{n % 2}\n" for n in range(20))
    assert pairs(read(f"sep=,\ntext;label\n{rows}"))[1] == ("a 1", "x1")


def test_a_separator_that_is_named_is_the_one(read) -> None:
    data = read("text:label\nhello there:x\nbye now:y\n", separator=":")
    assert pairs(data) == [("hello there", "x"), ("bye now", "y")]
    with pytest.raises(DataUnusable, match="--separator takes one character"):
        read("a,b\n", separator="::")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_quote_that_is_not_closed_costs_its_own_line_and_is_named(read, separator: str) -> None:
    rows = [f'"message, number; {n}\t!"{separator}x{n % 2}' for n in range(40)]
    rows[9] = f'"my parcel is late{separator}x1'
    data = read("\n".join([f"text{separator}label", *rows]))
    assert data.losses.lines == {"with a quote that is opened and not closed": [11]}
    assert len(data.samples) == 39
    assert data.losses.words() == "1 with a quote that is opened and not closed (line 11)"


@pytest.mark.parametrize("rows", [3, 30, 300])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_it_is_named_also_where_the_file_has_no_other_quote(read, rows: int, place: int) -> None:
    lines = [f"message {n};x{n % 2}" for n in range(rows)]
    lines[place] = '"my parcel is late;x1'
    data = read("\n".join(["text;label", *lines]))
    line = list(range(2, rows + 2))[place]
    assert data.losses.lines == {"with a quote that is opened and not closed": [line]}
    assert len(data.samples) == rows - 1


def test_quotes_that_are_never_closed_at_the_end_and_again_and_again(read) -> None:
    rows = [f'"text, {n}",x{n % 2}' for n in range(60)]
    for broken in (3, 30, 59):
        rows[broken] = f'"text {broken},x1'
    data = read("\n".join(["text,label", *rows]))
    assert data.losses.lines == {"with a quote that is opened and not closed": [5, 32, 61]}
    assert len(data.samples) == 57


def test_quotes_inside_a_cell_are_kept(read) -> None:
    rows = "".join(f'"text, {n}",x{n % 2}\n' for n in range(20))
    data = read(f'text,label\n{rows}"Great" he said,x0\n"Great" he, said,x1\n')
    assert pairs(data)[-1] == ('"Great" he said', "x0")
    assert data.losses.lines == {"with quotes inside a cell that are not doubled": [23]}


def test_quotes_escaped_with_a_backslash_are_read(read) -> None:
    rows = "".join(f'"He said \\"hi, {n}\\" to me",x{n % 2}\n' for n in range(20))
    assert pairs(read(f"text,label\n{rows}"))[3] == ('He said "hi, 3" to me', "x1")


def test_a_tsv_in_which_quotes_mean_nothing_is_read(read) -> None:
    rows = "".join(f'"wait {n}, he said\tx{n % 2}\n' for n in range(20))
    assert pairs(read(f"text\tlabel\n{rows}"))[3] == ('"wait 3, he said', "x1")


def test_short_long_and_blank_rows_are_counted_by_line(read) -> None:
    data = read(
        "text,label,source\n"
        "one,a,web\n"
        "only a text\n"
        "two,b\n"
        "\n"
        ",,\n"
        "three, with a comma,a,web\n"
        "four,a,web,,\n"
        "five,b,web\n"
        ",b,web\n"
        "six,,web\n"
    )
    assert pairs(data) == [("one", "a"), ("two", "b"), ("four", "a"), ("five", "b")]
    assert data.losses.lines == {
        "blank": [5, 6],
        "with fewer cells than the header": [3],
        "with more cells than the header: a separator in a text without quotes?": [7],
        "without a message": [10],
        "without a label": [11],
    }
    assert data.rows == 10


def test_names_of_columns_that_come_twice_are_refused_with_their_numbers(read) -> None:
    content = "text,label,label\nhello,a,first\nbye,b,second\n"
    with pytest.raises(DataUnusable, match=r"2 columns are named 'label' \(numbers 2 and 3\)"):
        read(content)
    with pytest.raises(DataUnusable, match=r"e\.g\. --label-column 3"):
        read(content, label_column="label")
    assert pairs(read(content, label_column="2")) == [("hello", "a"), ("bye", "b")]
    assert pairs(read(content, label_column="3")) == [("hello", "first"), ("bye", "second")]


@pytest.mark.parametrize(
    "header", ["label,Label,text", "text, LABEL ,label", "text,label\u200b,label", "Text,x,TEXT"]
)
def test_names_that_differ_in_what_one_hardly_sees_are_not_chosen_between(
    read, header: str
) -> None:
    with pytest.raises(DataUnusable, match="2 columns are named"):
        read(f"{header}\n" + "".join(f"a {n},b {n},c {n}\n" for n in range(9)))


def test_cells_in_single_quotes_are_read(read) -> None:
    rows = "".join(f"'message {n}, it''s me','{'ab'[n % 2]}'\n" for n in range(20))
    assert pairs(read(f"'text','label'\n{rows}"))[1] == ("message 1, it's me", "b")


def test_rows_that_are_longer_than_the_header_are_not_shifted(read) -> None:
    rows = "".join(f"message {n}, it is late,{'ab'[n % 2]}\n" for n in range(20))
    with pytest.raises(DataUnusable, match="20 with more cells than the header: a separator in"):
        read(f"text,label\n{rows}")


def test_conversations_as_fine_tuning_takes_them_are_read(read) -> None:
    turns = [
        [
            {"role": "system", "content": "Sort it."},
            {"role": "user", "content": f"message {n}"},
            {"role": "assistant", "content": "ab"[n % 2]},
        ]
        for n in range(6)
    ]
    data = read("\n".join(json.dumps({"messages": each}) for each in turns))
    assert pairs(data)[1] == ("message 1", "b") and data.table.columns == ("user", "assistant")


def test_other_columns_may_come_twice(read) -> None:
    data = read("id,id,text,label\n1,2,hello,a\n3,4,bye,b\n")
    assert pairs(data) == [("hello", "a"), ("bye", "b")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_file_without_a_header_is_seen(read, separator: str) -> None:
    rows = [f"message number {n} of many{separator}{'ab'[n % 2]}" for n in range(20)]
    data = read("\n".join(rows))
    assert not data.table.has_header and data.table.columns == ("1", "2")
    assert pairs(data)[0] == ("message number 0 of many", "a") and data.rows == 20
    turned = [separator.join(row.split(separator)[::-1]) for row in rows]
    other = read("\n".join(turned), text_column="2", label_column="1")
    assert pairs(other) == pairs(data)


def test_a_header_with_unusual_names_is_one(read) -> None:
    rows = "".join(f"message number {n} of many,{'ab'[n % 2]}\n" for n in range(20))
    data = read(f"Was gesagt wurde,Wohin\n{rows}")
    assert data.table.has_header and data.rows == 20


def test_a_header_that_comes_again_and_a_title_above_it_are_left_out(read) -> None:
    rows = "".join(f"message {n},{'ab'[n % 2]}\n" for n in range(10))
    data = read(f"Export of May\n\ntext,label\n{rows}text,label\nlast,a\n")
    assert len(data.samples) == 11
    assert data.losses.counts() == {
        "blank": 1,
        "above the header": 1,
        "that repeat the header": 1,
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,created,Message,Intent", ("Message", "Intent")),
        ("Intent,id,x,Utterance", ("Utterance", "Intent")),
        (" text , \ufefflabel,a,b", ("text", "label")),
    ],
)
def test_columns_are_found_by_usual_names(read, header: str, expected: tuple[str, str]) -> None:
    data = read(f"{header}\n" + "".join(f"a{n},b{n},c{n},d{n}\n" for n in range(9)))
    names = data.table.columns
    assert (names[data.chosen.text], names[data.chosen.answer]) == expected


def test_columns_are_found_by_what_they_hold(read) -> None:
    rows = "".join(f"{n},this is message number {n},{'ab'[n % 2]},{n * 7}\n" for n in range(20))
    data = read(f"nr,was,wohin,wert\n{rows}")
    assert (data.chosen.text, data.chosen.answer) == (1, 2)


def test_which_column_is_the_label_may_have_to_be_said(read) -> None:
    rows = "".join(f"message number {n},{'ab'[n % 2]},{'cd'[n % 2]}\n" for n in range(20))
    with pytest.raises(DataUnusable, match="name it with --label-column; its columns are 'was'"):
        read(f"was,eins,zwei\n{rows}")
    with pytest.raises(DataUnusable, match="there is no column 'intent': its columns are 'was'"):
        read(f"was,eins,zwei\n{rows}", label_column="intent")
    with pytest.raises(DataUnusable, match="cannot be both"):
        read(f"was,eins,zwei\n{rows}", text_column="was", label_column="was")


def test_numbers_that_a_spreadsheet_keeps_as_text_are_unwrapped(read) -> None:
    data = read('text,label\n"=""0012""",="7"\nhello,="8"\n=hello,"=""7"""\n')
    assert pairs(data) == [("0012", "7"), ("hello", "8"), ("=hello", "7")]


@pytest.mark.parametrize(
    "content",
    ["only one column\nhello\nbye\n", "text\n", "text,label\n", '"', "text,label\n,\n,\n"],
)
def test_a_file_without_usable_rows_is_refused(read, content: str) -> None:
    with pytest.raises(DataUnusable):
        read(content)


def test_a_header_alone_is_said_to_be_one(read) -> None:
    with pytest.raises(DataUnusable, match=r"has a header \(text, label\) and no rows below it"):
        read("text\tlabel\n")


ROWS = [{"text": f"message {n}", "label": "ab"[n % 2], "n": n} for n in range(6)]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(json.dumps, ROWS)),
        "\r\n".join(map(json.dumps, ROWS)) + "\r\n",
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
    ],
    ids=["lines", "crlf", "list", "pretty"],
)
def test_json_is_read_by_line_or_as_one_list(read, content: str) -> None:
    data = read(content, name="anything.txt")
    assert pairs(data)[1] == ("message 1", "b") and (data.rows, len(data.samples)) == (6, 6)


@pytest.mark.parametrize("first", ["", "garbage, of some kind\n", "\ufeff"])
@pytest.mark.parametrize("end", [",\n", " , \n", "\n\n"])
def test_lines_of_json_are_known_by_what_most_are(read, first: str, end: str) -> None:
    data = read(first + end.join(map(json.dumps, ROWS)))
    assert len(data.samples) == 6 and data.table.form == "JSON objects"
    assert data.losses.counts().get("that are no JSON object", 0) == ("garbage" in first)


def test_lines_that_are_no_json_objects_are_counted(read) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[1:1] = [
        "",
        "{broken",
        "[1]",
        '{"text": "a", "text": "b", "label": "a"}',
        '{"text": "\\ud800", "label": "a"}',
        '{"text": "no label", "label": null}',
        '{"text": "not a number", "label": NaN}',
        "[" * 5000,
    ]
    data = read("\n".join(lines))
    assert len(data.samples) == 6 and data.rows == 14
    assert data.losses.lines == {
        "blank": [2],
        "that are no JSON object": [3, 4, 9],
        "that name a field twice": [5],
        "with half a surrogate pair": [6],
        "without a label": [7, 8],
    }


def test_bytes_that_are_not_utf_8_cost_their_row(read) -> None:
    rows = "".join(f"Größe für Möller Nummer {n};{'ab'[n % 2]}\n" for n in range(30))
    data = read(f"text;label\n{rows}".encode() + "Käse;b\n".encode("cp1252"))
    assert data.losses.lines == {"with bytes that are not UTF-8": [32]} and len(data.samples) == 30


def test_a_control_that_reads_as_before_loses_rows_in_silence(tmp_path: Path) -> None:
    """What `csv.DictReader` makes of an unclosed quote and of a name that comes twice."""
    import csv

    rows = list(csv.DictReader('text,label,label\n"late,a,b\nhello,c,d\n'.splitlines(True)))
    assert len(rows) == 1 and rows[0]["label"] is None


def test_a_header_behind_a_byte_order_mark_in_the_middle_is_one(read) -> None:
    """As `cat a.csv b.csv` joins two files of a spreadsheet."""
    data = read("\ufefftext,label\nhello,a\nText,label\n\ufefftext,label\nbye,b\n")
    assert pairs(data) == [("hello", "a"), ("Text", "label"), ("bye", "b")]
    assert data.losses.lines == {"that repeat the header": [4]}
