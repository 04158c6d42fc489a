"""The page docs/privacy.md: what is found, what is not, by kind and language."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tests.privacy.corpus import CLAIMED, LANGUAGES, Line, corpus
from tests.privacy.measure import Redactor, Score, score

# What the rules found before they were touched
# (docs/decisions/0049-one-plain-view-for-redaction.md).
BEFORE: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "before.json").read_text())
NOT_CLAIMED = ("ID", "NAME", "ADDRESS")
TEXT = Path(__file__).parent / "page.md"


def counts(found: Score) -> dict[str, dict[str, str]]:
    """Return for each kind, and for `harmless`, "gone/marks" by language and in all."""
    rows = {
        kind: {
            language: f"{found.gone[kind, language]}/{found.marks[kind, language]}"
            for language in LANGUAGES
        }
        | {"all": ratio(found, kind)}
        for kind in (*CLAIMED, *NOT_CLAIMED)
    }
    kept = {
        language: f"{found.kept[language]}/{found.harmless[language]}" for language in LANGUAGES
    }
    return rows | {"harmless": kept | {"all": f"{found.kept.total()}/{found.harmless.total()}"}}


def ratio(found: Score, kind: str) -> str:
    gone = sum(number for (one, _), number in found.gone.items() if one == kind)
    marks = sum(number for (one, _), number in found.marks.items() if one == kind)
    return f"{gone}/{marks}"


def page(redactor: Redactor) -> str:
    """Return the page, with what this redactor finds."""
    every = corpus()
    now = score(redactor, every)
    text = TEXT.read_text()
    tables = {
        "{by_kind}": table(counts(now)),
        "{precision}": precision(now),
        "{held_out}": held_out(redactor, every),
    }
    for place, content in tables.items():
        text = text.replace(place, content)
    return text


def table(now: dict[str, dict[str, str]]) -> str:
    """Write what is found now, and in brackets what was found before, where that differs."""
    columns = ["all", *LANGUAGES]
    rows = []
    for kind, cells in now.items():
        before = BEFORE[kind]
        words = [
            cells[column] + (f" ({before[column]})" if before[column] != cells[column] else "")
            for column in columns
        ]
        rows.append([f"`{kind}`" if kind.isupper() else "harmless, left alone", *words])
    return markdown(["kind", *columns], rows)


def precision(now: Score) -> str:
    """Write of each kind how many of its finds were personal."""
    kinds = sorted({kind for kind, _ in now.replaced})
    rows = []
    for kind in kinds:
        all_finds = sum(n for (one, _), n in now.replaced.items() if one == kind)
        wrong = sum(n for (one, _), n in now.wrongly.items() if one == kind)
        rows.append([f"`{kind}`", str(all_finds), str(wrong), f"{1 - wrong / all_finds:.1%}"])
    return markdown(["kind", "finds", "of them not personal", "precision"], rows)


def held_out(redactor: Redactor, lines: Iterable[Line]) -> str:
    """Write both halves apart: the one that was looked at, and the one that was not."""
    rows = []
    for name, wanted in (("odd lines, looked at", False), ("even lines, not looked at", True)):
        half = score(redactor, tuple(line for line in lines if line.held_out == wanted))
        found = counts(half)
        rows.append([name, *(found[kind]["all"] for kind in (*CLAIMED, "harmless"))])
    return markdown(["half", *(f"`{kind}`" for kind in CLAIMED), "harmless"], rows)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
