"""The plots of an evaluation's report, as SVG data URIs."""

from __future__ import annotations

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from schemas.base import JsonObject
from services.evaluator.calibration import probabilities
from services.evaluator.certificate import Bools, Floats
from services.evaluator.paired import gain_interval

COLOURS = {"base": "#8a8f98", "champion": "#b7791f", "challenger": "#2563eb"}
INK = "#111827"
FAINT = "#9ca3af"
# Points of the reliability diagram.
BINS = 8
# The risk of fewer answers than this is noise.
LEAST_ACCEPTED = 5


def drawn(content: JsonObject) -> dict[str, str]:
    """Return the plots by their names in the template; none where there are no rows."""
    if not content["rows"]:
        return {}
    if content["free_text"]:
        tests = content["tests"]
        return {"people_plot": people_plot(tests[-1])} if tests else {}
    return {
        "accuracy_plot": accuracy_plot(content["arms"]),
        "gain_plot": gain_plot(content["tests"], len(content["rows"])),
        "reliability_plot": reliability_plot(content),
        "risk_plot": risk_plot(content),
    }


def accuracy_plot(arms: list[JsonObject]) -> str:
    figure, axes = plt.subplots(figsize=(5.2, 0.6 * len(arms) + 0.9))
    for y, arm in enumerate(reversed(arms)):
        low, high = wilson(arm["accuracy"], arm["n"])
        axes.barh(y, 100 * arm["accuracy"], color=COLOURS[arm["arm"]], height=0.55)
        axes.plot([100 * low, 100 * high], [y, y], color=INK, linewidth=1.4)
    axes.set_yticks(range(len(arms)), [arm["arm"] for arm in reversed(arms)])
    axes.set_xlim(0, 100)
    axes.set_xlabel("right answers, % (line: 95 % Wilson interval)")
    return as_data_uri(figure)


def people_plot(test: JsonObject) -> str:
    """Draw what people said of the pairs."""
    figure, axes = plt.subplots(figsize=(5.2, 1.3))
    parts = {
        "better": (test["wins"], COLOURS["challenger"]),
        "as good": (test["ties"], FAINT),
        "both of no use": (test["neither"], "#d1d5db"),
        "worse": (test["losses"], COLOURS["champion"]),
    }
    left = 0
    for name, (count, colour) in parts.items():
        axes.barh(0, count, left=left, color=colour, height=0.5, label=f"{name} ({count})")
        left += count
    axes.set_yticks([])
    axes.set_xlabel("pairs of answers")
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    return as_data_uri(figure)


def gain_plot(tests: list[JsonObject], n: int) -> str:
    """Draw what the challenger gains on each arm, in points, with its interval (Tango 1998)."""
    figure, axes = plt.subplots(figsize=(5.2, 0.6 * len(tests) + 0.9))
    for y, test in enumerate(reversed(tests)):
        low, high = gain_interval(test["wins"], test["losses"], n)
        axes.plot([100 * low, 100 * high], [y, y], color=INK, linewidth=1.4)
        gain = 100 * (test["wins"] - test["losses"]) / n
        axes.plot(gain, y, marker="o", color=COLOURS[test["against"]])
    axes.axvline(0, color=FAINT, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(tests)), [f"over {test['against']}" for test in reversed(tests)])
    axes.margins(y=0.4)
    axes.set_xlabel("gain of the challenger, points (line: 95 % interval)")
    return as_data_uri(figure)


def reliability_plot(content: JsonObject) -> str:
    """Draw mean P(correct) against the share that was right, in bins of equal size.

    On the diagonal it can be believed.
    """
    figure, axes = plt.subplots(figsize=(4.4, 4.0))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    for name, p, right in judged(content):
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


def risk_plot(content: JsonObject) -> str:
    """Draw how many of the surest answers are wrong, against how many are taken."""
    figure, axes = plt.subplots(figsize=(4.4, 4.0))
    axes.axhline(100 * content["max_risk"], color=FAINT, linewidth=1, linestyle="--")
    for name, p, right in judged(content):
        wrong = np.cumsum(~right[np.argsort(-p, kind="stable")])
        taken = np.arange(1, len(p) + 1)
        shown = taken >= LEAST_ACCEPTED
        axes.plot(
            100 * taken[shown] / len(p),
            100 * wrong[shown] / taken[shown],
            color=COLOURS[name],
            label=name,
        )
    axes.set(
        xlim=(0, 100),
        ylim=(0, None),
        xlabel="surest answers taken, %",
        ylabel="wrong among them, % (dashed: max_risk)",
    )
    axes.legend(frameon=False)
    return as_data_uri(figure)


def judged(content: JsonObject) -> list[tuple[str, Floats, Bools]]:
    """Return of each arm its name, P(correct) of each row, and which were right."""
    fitted = {one["adapter_id"]: one for one in content["calibrations"] if not one["behind"]}
    found = []
    for arm in content["arms"]:
        name, calibration = arm["arm"], fitted[arm["adapter_id"]]
        scores = np.array([row["scores"][name] for row in content["rows"]])
        right = np.array([name in row["right"] for row in content["rows"]], dtype=bool)
        p = probabilities(scores, calibration["slope"], calibration["intercept"])
        found.append((name, p, right))
    return found


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
