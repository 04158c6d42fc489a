"""The plot of docs/guarantees.svg: every promise and its control in one look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tests.simulations.promise import Measured
from tests.simulations.table import Tried

HELD = "#2563eb"
BROKEN = "#b7791f"
INK = "#111827"
FAINT = "#9ca3af"
# Of the figure, in inches: a line for each world, and what stands above and below.
LINE = 0.15
MARGINS = 1.0
# Lines between two promises.
GAP = 0.8


def draw(tried: Sequence[Tried], path: Path) -> None:
    """Write the plot as SVG, the same bytes for the same figures."""
    worlds = sum(max(len(one.measured), len(one.control)) + GAP for one in tried)
    figure, axes = plt.subplots(figsize=(9.5, LINE * worlds + MARGINS))
    bottom = 0.0
    places, names = [], []
    for one in tried:
        height = max(len(one.measured), len(one.control))
        draw_promise(axes, one, bottom, height)
        places.append(bottom + (height - 1) / 2)
        names.append(one.promise.name.replace("-", " "))
        bottom += height + GAP
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(bottom, -1)
    axes.set_xlim(-1, 101)
    axes.set_xlabel("runs in which it happened, %")
    axes.set_title(
        "dots: measured, with 95 % intervals; bars: what is promised, on the shaded side;"
        " crosses: the rule that is not used",
        fontsize=8,
    )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    with mpl.rc_context({"svg.hashsalt": "guarantees", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def draw_promise(axes: Axes, tried: Tried, top: float, height: int) -> None:
    """Draw a promise's level, and a line for each world."""
    level = 100 * tried.promise.level
    low, high = top - 0.6, top + height - 0.4
    kept = (0, level) if tried.promise.side == "at most" else (level, 100)
    axes.fill_betweenx([low, high], *kept, color=HELD, alpha=0.08, linewidth=0)
    axes.plot([level, level], [low, high], color=INK, linewidth=1.2)
    for worlds, colour, marker in ((tried.control, BROKEN, "x"), (tried.measured, HELD, "o")):
        for number, measured in enumerate(worlds):
            draw_world(axes, measured, top + number, colour, marker)


def draw_world(axes: Axes, measured: Measured, y: float, colour: str, marker: str) -> None:
    ends = [100 * end for end in measured.interval]
    axes.plot(ends, [y, y], color=colour, linewidth=1)
    axes.plot(100 * measured.rate, y, color=colour, marker=marker, markersize=4)
