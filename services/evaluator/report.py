"""The HTML report of an evaluation, made in a child process: python -m services.evaluator.report
IN.json OUT.html

Self-contained: no script, no link, plots as SVG data URIs; every text of a user is escaped by
Jinja's autoescape.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from schemas.base import JsonObject
from services.evaluator.metrics import ClassScore, class_scores, confused_pairs, confusion
from services.evaluator.paired import gain_interval
from services.evaluator.report_plots import drawn

TEMPLATES = Path(__file__).parent / "templates"
# Shown of each kind of mistake, cut to TEXT_LIMIT characters.
EXAMPLES = 3
TEXT_LIMIT = 300
# Labels with at least this F1 need no more rows.
FINE_F1 = 0.8


def main(source: Path, target: Path) -> None:
    """Draw the report of `publication.report_content`."""
    content = json.loads(source.read_text())
    content["reported"] = [row for row in content["rows"] if not row["decides"]]
    content["rows"] = [row for row in content["rows"] if row["decides"]]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    target.write_text(
        environment.get_template("evaluation.html").render(
            **content, **drawn(content), **analysis(content), **summary(content)
        )
    )


def summary(content: JsonObject) -> JsonObject:
    """Say in a sentence what a reader who reads no more should know, and what the strata show."""
    if not content["tests"]:
        return {"sentence": "", "strata": []}
    arms = {arm["arm"]: arm for arm in content["arms"]}
    serving = content["tests"][-1]
    low, high = gain_interval(serving["wins"], serving["losses"], len(content["rows"]))
    ours = 100 * arms["challenger"]["accuracy"]
    sentence = (
        f"The new adapter answers {ours:.0f} % rightly and the {serving['against']}, which serves,"
        f" {100 * arms[serving['against']]['accuracy']:.0f} %: between {100 * low:+.0f} and"
        f" {100 * high:+.0f} points of difference at 95 %."
    )
    base = 100 * arms["base"]["accuracy"]
    bought = (
        f"Training buys {ours - base:+.0f} points over the base model with the best prompt, held to"
        f" the same form ({base:.0f} %)."
    )
    return {"sentence": sentence, "bought": bought, "strata": strata(content)}


def strata(content: JsonObject) -> list[JsonObject]:
    """Return by stratum how many rows the challenger won and lost against what serves."""
    against = content["tests"][-1]["against"]
    rows = content["rows"] + content["reported"]
    found = []
    for name in sorted({row["stratum"] for row in rows}):
        mine = [row["right"] for row in rows if row["stratum"] == name]
        found.append(
            {
                "name": name.replace("_", " "),
                "n": len(mine),
                "wins": sum("challenger" in right and against not in right for right in mine),
                "losses": sum(against in right and "challenger" not in right for right in mine),
            }
        )
    return found


def analysis(content: JsonObject) -> JsonObject:
    """Say where the challenger fails, with examples.

    Numbers per class only where answers are labels.
    """
    rows = content["rows"]
    expected = [row["expected"] for row in rows]
    answered = [row["answers"]["challenger"] for row in rows]
    failures = [
        {"expected": want, "answered": got, "count": count, "examples": examples(rows, want, got)}
        for want, got, count in confused_pairs(expected, answered)
    ]
    if content["task"] != "classification" or not rows:
        return {"failures": failures, "classes": [], "columns": [], "matrix": []}
    columns, matrix = confusion(expected, answered)
    return {
        "failures": failures,
        "classes": per_class(rows, expected),
        "columns": columns,
        "matrix": matrix,
        "weak": weakest(expected, answered),
    }


def per_class(rows: list[JsonObject], expected: list[str]) -> list[JsonObject]:
    """Return the F1 of every arm for each label."""
    by_arm = {
        arm: {
            score.label: score
            for score in class_scores(expected, [row["answers"][arm] for row in rows])
        }
        for arm in rows[0]["answers"]
    }
    return [
        {
            "label": label,
            "support": score.support,
            "recall": score.recall,
            "precision": score.precision,
            "f1": {arm: scores[label].f1 for arm, scores in by_arm.items()},
        }
        for label, score in by_arm["challenger"].items()
    ]


def weakest(expected: list[str], answered: list[str]) -> list[ClassScore]:
    """Return the labels with the lowest F1, unless they are fine: what to collect next."""
    return sorted(
        (score for score in class_scores(expected, answered) if score.f1 < FINE_F1),
        key=lambda score: score.f1,
    )[:3]


def examples(rows: list[JsonObject], want: str, got: str) -> list[str]:
    texts = [
        row["text"]
        for row in rows
        if row["expected"] == want and row["answers"]["challenger"] == got
    ]
    return [
        text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]} …" for text in texts[:EXAMPLES]
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
