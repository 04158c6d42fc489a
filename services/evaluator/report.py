"""The HTML report of an evaluation, made in a child process: python -m services.evaluator.report
IN.json OUT.html

Self-contained: no script, no link, plots as SVG data URIs; every text of a user is escaped by
Jinja's autoescape.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure

from schemas.base import JsonObject
from services.evaluator.calibration import probabilities
from services.evaluator.metrics import ClassScore, class_scores, confused_pairs, confusion

TEMPLATES = Path(__file__).parent / "templates"
COLOURS = {"base": "#8a8f98", "champion": "#b7791f", "challenger": "#2563eb"}
# Shown of each kind of mistake, cut to TEXT_LIMIT characters.
EXAMPLES = 3
TEXT_LIMIT = 300
# Points of the reliability diagram.
BINS = 8
# Labels with at least this F1 need no more rows.
FINE_F1 = 0.8


def main(source: Path, target: Path) -> None:
    """Draw the report of `publication.report_content`."""
    content = json.loads(source.read_text())
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    target.write_text(
        environment.get_template("evaluation.html").render(
            **content, **drawn(content), **analysis(content)
        )
    )


def drawn(content: JsonObject) -> dict[str, str]:
    if not content["rows"]:
        return {}
    return {
        "accuracy_plot": accuracy_plot(content["arms"]),
        "reliability_plot": reliability_plot(content),
    }


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


def accuracy_plot(arms: list[JsonObject]) -> str:
    figure, axes = plt.subplots(figsize=(5.2, 0.6 * len(arms) + 0.9))
    for y, arm in enumerate(reversed(arms)):
        low, high = wilson(arm["accuracy"], arm["n"])
        axes.barh(y, 100 * arm["accuracy"], color=COLOURS[arm["arm"]], height=0.55)
        axes.plot([100 * low, 100 * high], [y, y], color="#111827", linewidth=1.4)
    axes.set_yticks(range(len(arms)), [arm["arm"] for arm in reversed(arms)])
    axes.set_xlim(0, 100)
    axes.set_xlabel("right answers, % (line: 95 % Wilson interval)")
    return as_data_uri(figure)


def reliability_plot(content: JsonObject) -> str:
    """Draw mean P(correct) against the share that was right, in bins of equal size.

    On the diagonal it can be believed.
    """
    figure, axes = plt.subplots(figsize=(4.4, 4.0))
    axes.plot([0, 1], [0, 1], color="#9ca3af", linewidth=1, linestyle="--")
    of_adapter = {found["adapter_id"]: found for found in content["calibrations"]}
    for arm in content["arms"]:
        found = of_adapter[arm["adapter_id"]]
        name = arm["arm"]
        p = probabilities(
            np.array([row["scores"][name] for row in content["rows"]]),
            found["slope"],
            found["intercept"],
        )
        right = np.array([row["answers"][name] == row["expected"] for row in content["rows"]])
        points = [
            (p[part].mean(), right[part].mean())
            for part in np.array_split(np.argsort(p), min(BINS, len(p)))
        ]
        axes.plot(
            *zip(*points, strict=True), marker="o", markersize=4, color=COLOURS[name], label=name
        )
    axes.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="calibrated P(correct)",
        ylabel="share that was right",
    )
    axes.legend(frameon=False)
    return as_data_uri(figure)


def wilson(rate: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the ends of Wilson's interval of a share; 1.96 is 95 %."""
    if n == 0:
        return 0.0, 1.0
    centre = rate + z * z / (2 * n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return float((centre - half) / (1 + z * z / n)), float((centre + half) / (1 + z * z / n))


def as_data_uri(figure: Figure) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(figure)
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
