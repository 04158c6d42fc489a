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
from services.evaluator.comparisons import share_interval
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
        return {"sentence": "", "strata": [], "broken": []}
    if content["free_text"]:
        return {"sentence": what_people_found(content["tests"][-1]), "strata": [], "broken": []}
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
    return {
        "sentence": sentence,
        "bought": bought,
        "mended": mended(content),
        "strata": strata(content),
        "broken": broken(content),
    }


def mended(content: JsonObject) -> str:
    """Say how many mistakes of what serves the challenger does not make, and how many it adds."""
    serving = content["tests"][-1]
    right = sum(serving["against"] in row["right"] for row in content["rows"])
    return (
        f"Of the {len(content['rows']) - right} rows that the {serving['against']} gets wrong it"
        f" mends {serving['wins']}, and of the {right} that it gets right it breaks"
        f" {serving['losses']}."
    )


def broken(content: JsonObject) -> list[JsonObject]:
    """Return some rows that only what serves gets right."""
    against = content["tests"][-1]["against"]
    lost = [
        {
            "text": shortened(row["text"]),
            "expected": row["expected"],
            "answered": row["answers"]["challenger"],
        }
        for row in content["rows"]
        if against in row["right"] and "challenger" not in row["right"]
    ]
    return lost[:EXAMPLES]


def what_people_found(test: JsonObject) -> str:
    wins, losses = test["wins"], test["losses"]
    low, high = share_interval(wins, losses)
    return (
        f"People found the new adapter better in {wins} pairs of answers and the {test['against']},"
        f" which serves, in {losses}; {test['ties']} are as good, {test['neither']} both of no use."
        f" It wins between {100 * low:.0f} and {100 * high:.0f} of 100 decided pairs at 95 %."
    )


def strata(content: JsonObject) -> list[JsonObject]:
    """Return by stratum how many rows the challenger won and lost against what serves, and the 95 %
    interval of what it gains there.
    """
    against = content["tests"][-1]["against"]
    rows = content["rows"] + content["reported"]
    found = []
    for name in sorted({row["stratum"] for row in rows}):
        mine = [row["right"] for row in rows if row["stratum"] == name]
        wins = sum("challenger" in right and against not in right for right in mine)
        losses = sum(against in right and "challenger" not in right for right in mine)
        low, high = gain_interval(wins, losses, len(mine))
        found.append(
            {
                "name": name.replace("_", " "),
                "n": len(mine),
                "wins": wins,
                "losses": losses,
                "low": low,
                "high": high,
            }
        )
    return found


def analysis(content: JsonObject) -> JsonObject:
    """Say where the challenger fails, with examples.

    Numbers per class only where answers are labels.
    """
    rows = content["rows"]
    if content["free_text"]:
        return {"compared": [one for found in ("better", "worse") for one in shown(rows, found)]}
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


def shown(rows: list[JsonObject], found: str) -> list[JsonObject]:
    """Return some pairs of which people said the same."""
    those = [row for row in rows if row.get("people") == found][:EXAMPLES]
    return [
        {"found": found, "text": shortened(row["text"])}
        | {"answers": {arm: shortened(answer) for arm, answer in row["answers"].items()}}
        for row in those
    ]


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
    return [shortened(text) for text in texts[:EXAMPLES]]


def shortened(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]} …"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
