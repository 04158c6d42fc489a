"""The demo's results: tables on the terminal, and one HTML page with the plot of accuracy."""

from __future__ import annotations

import io
import statistics
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from infra.demo.record import Moment, Phase, Step, late
from infra.demo.story import Story
from infra.demo.traffic import AnsweredMessage, accuracy

# Requests in the moving average of the plot.
WINDOW = 40
QUIET_SECONDS = 15
MARKS = {"promotion": "#1a7f4b", "drift": "#c0392b", "labels": "#8a6d1a"}


def phase_row(phase: Phase) -> dict[str, str]:
    answered = phase.answered
    n = len(phase.answered)
    late_ones = late(answered)
    return {
        "phase": phase.name,
        "requests": str(n),
        "accuracy": f"{accuracy(answered):.0%}",
        "late": f"{accuracy(late_ones):.0%}" if late_ones else "–",
        "fallback": f"{sum(one.outcome != 'confident' for one in answered) / n:.0%}",
        "human": f"{sum(one.outcome == 'unsure' for one in answered) / n:.0%}",
        "reviewed": str(phase.reviewed),
        "median": f"{statistics.median(one.seconds for one in answered) * 1000:.0f} ms",
    }


COLUMNS = {
    "phase": "phase",
    "requests": "requests",
    "accuracy": "accuracy",
    "late": "accuracy, late labels",
    "fallback": "fell back",
    "human": "asked a human",
    "reviewed": "reviewed meanwhile",
    "median": "median latency",
}


def print_tables(console: Console, story: Story, total_seconds: float) -> None:
    table = Table(title="What happened", title_justify="left")
    for key, title in COLUMNS.items():
        first = key == "phase"
        table.add_column(title, justify="left" if first else "right", no_wrap=first)
    for phase in story.record.phases:
        table.add_row(*phase_row(phase).values())
    console.print(table)
    steps = Table(title="How long each step took", title_justify="left")
    steps.add_column("step")
    steps.add_column("seconds", justify="right")
    for step in [*story.record.steps, Step("everything", total_seconds)]:
        steps.add_row(step.name, f"{step.seconds:.1f}")
    console.print(steps)
    for result in story.record.results():
        mark = "[bold green]PASSED[/]" if result.passed else "[bold red]FAILED[/]"
        console.print(f"{mark} {result.act}: {result.words}", highlight=False)


def write_html(path: Path, story: Story, lineage: str, total_seconds: float, machine: str) -> None:
    plot = Markup(accuracy_plot(story))  # noqa: S704  matplotlib escapes what it draws
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    path.write_text(
        environment.get_template("report.html.j2").render(
            columns=COLUMNS,
            rows=[phase_row(phase) for phase in story.record.phases],
            steps=[*story.record.steps, Step("everything", total_seconds)],
            results=story.record.results(),
            evaluations=story.record.evaluations,
            plot=plot,
            lineage=lineage,
            machine=machine,
            reviewed=story.reviewers.done,
            corrected=story.reviewers.corrected,
            rejected=story.reviewers.rejected,
            erred=story.reviewers.erred,
            route=story.data.spec.name,
        )
    )


def accuracy_plot(story: Story) -> str:
    """Draw accuracy over time as an inline SVG, with every promotion and drift event."""
    answered = sorted(story.app.answered, key=lambda one: one.at)
    figure = Figure(figsize=(10, 4.2))
    axes = figure.add_subplot()
    for rows, which, style in (
        (answered, "all requests", "-"),
        (late(answered), "late labels only", "--"),
    ):
        # a story of one act has no late labels
        if rows:
            label = f"{which} (moving average of {WINDOW})"
            axes.plot(*moving_accuracy(rows), style, label=label, linewidth=2)
    for i, moment in enumerate(story.record.happened):
        draw_moment(axes, moment, 1.02 + 0.05 * (i % 3))
    axes.set(xlabel="seconds since the start", ylabel="accuracy", ylim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def draw_moment(axes: Axes, moment: Moment, height: float) -> None:
    axes.axvline(moment.at, color=MARKS[moment.kind], linewidth=1.4)
    axes.annotate(
        moment.text,
        (moment.at, height),
        xycoords=("data", "axes fraction"),
        fontsize=8,
        color=MARKS[moment.kind],
    )


def moving_accuracy(answered: list[AnsweredMessage]) -> tuple[list[float], list[float]]:
    """Return times and values; NaN breaks the line where nothing was asked for a while.

    At least one answer is needed.
    """
    times: list[float] = []
    values: list[float] = []
    for end in range(min(10, len(answered)), len(answered) + 1):
        window = answered[max(0, end - WINDOW) : end]
        if times and window[-1].at - times[-1] > QUIET_SECONDS:
            times.append(window[-1].at)
            values.append(float("nan"))
        times.append(window[-1].at)
        values.append(accuracy(window))
    return times, values
