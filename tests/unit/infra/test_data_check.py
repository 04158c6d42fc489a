"""`ratchet data check`: one screen about a file, and an exit code that says if it can be used."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.own_data.__main__ import write
from infra.cli.main import app

RUNNER = CliRunner()
SCREEN = 40


@pytest.fixture(scope="module")
def own_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write(tmp_path_factory.mktemp("own"))


def check(*arguments: str | Path):
    return RUNNER.invoke(
        app,
        ["data", "check", *map(str, arguments)],
        env={"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"},
    )


def test_it_fits_on_a_screen_and_says_what_to_run_next(own_files: list[Path]) -> None:
    for file, words in zip(
        own_files,
        (
            ("separated by semicolons, cp1252", "a guess", "350 caretaker", "act 2 is left out"),
            ("utf-8 with a byte order mark", "100 物流查询", "Chinese characters 700", "act 2: up"),
            ("JSON objects", '"required": ["product", "quantity", "city"]', "no labels that could"),
            ("separated by semicolons, cp1256", "a guess", "140 فاتورة", "Arabic 700"),
        ),
        strict=True,
    ):
        result = check(file)
        assert result.exit_code == 0, result.output
        assert len(result.output.splitlines()) <= SCREEN
        for word in (*words, "700: 700 read, 0 skipped", f"ratchet demo --data {file}"):
            assert word in result.output


def test_what_it_says_to_run_next_is_a_command(own_files: list[Path]) -> None:
    for file in own_files:
        command = json.loads(check(file, "--json").output)["next"]
        options = [word for word in shlex.split(command) if word.startswith("--")]
        help_text = RUNNER.invoke(app, ["demo", "--help"], env={"COLUMNS": "200"}).output
        assert command.startswith("ratchet demo --data") and options
        assert all(option in help_text for option in options)


MESSY = (
    "sep=;\n"
    "text;label;label\n"
    + "".join(f"message number {n};{'ab'[n % 2]};{'xyz'[n % 3]}\n" for n in range(300))
    + "short\n"
    + "\n"
    + '"never closed;a;x\n'
    + "another;None;x\n"
    + "a new one;B\u200b;x\n"
    + "message number 1;a;x\n"
)


def test_every_row_is_counted_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "messy.csv"
    file.write_text(MESSY)
    found = json.loads(check(file, "--label-column", "2", "--json").output)
    assert found["usable"] and (found["rows"], found["read"]) == (306, 300)
    assert found["skipped_lines"] == {
        "with fewer cells than the header": [303],
        "blank": [304],
        "with a quote that is opened and not closed": [305],
        "with the label 'None', which programs write for none": [306],
        "whose message has several answers, none of them in most rows": [4, 308],
    }
    assert sum(found["skipped"].values()) + found["read"] == found["rows"]
    assert found["merged_labels"] == {"b": {"B\u200b": 1}}
    assert found["columns"] == ["text", "label", "label"]
    assert "--label-column 2" in found["next"]
    screen = check(file, "--label-column", "2").output
    assert "306: 300 read, 6 skipped:" in screen
    assert "1 with a quote that is opened and not closed (line 305)" in screen
    assert "taken as 'b': 'B\\u200b' (1)" in screen


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (MESSY, "2 columns are named 'label' (numbers 2 and 3)"),
        ("", "is empty"),
        ("text,label\n" + "".join(f"message {n},{'ab'[n % 2]}\n" for n in range(50)), "add 100"),
        ("text,label\n" + "".join(f"message {n},a\n" for n in range(200)), "two labels"),
    ],
)
def test_a_file_that_cannot_be_used_is_exit_code_1_and_says_what_to_change(
    tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "messages.csv"
    file.write_text(content)
    result = check(file)
    assert result.exit_code == 1 and words in result.output
    assert "Traceback" not in result.output
    as_json = check(file, "--json")
    assert as_json.exit_code == 1 and words in json.loads(as_json.output)["change"]


def test_the_demo_says_what_it_will_tell_before_anything_is_started(
    own_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    async def run_demo(data, options, console) -> bool:
        given.append((data, options.home))
        return True

    monkeypatch.setattr("infra.cli.demo.run_demo", run_demo)
    result = RUNNER.invoke(
        app, ["demo", "--data", str(own_files[2]), "--home", str(tmp_path), "--answer-column", "2"]
    )
    assert result.exit_code == 0
    assert "700 rows, 700 read, 0 skipped" in result.output
    assert "act 2 is left out: an extraction has no labels" in result.output
    ((data, home),) = given
    assert data.spec.task == "extraction" and home == tmp_path


def test_the_demo_refuses_the_same_file_before_anything_is_started(tmp_path: Path) -> None:
    file = tmp_path / "messages.csv"
    file.write_text("text,label\n" + "".join(f"message {n},a\n" for n in range(200)))
    home = tmp_path / "home"
    result = RUNNER.invoke(app, ["demo", "--data", str(file), "--home", str(home)])
    assert result.exit_code == 1 and "two labels" in result.stderr
    assert f"{file}: 200 rows, 200 read, 0 skipped" in result.stdout
    assert not home.exists()
