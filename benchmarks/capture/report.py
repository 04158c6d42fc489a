"""What a run leaves behind: a table to read, JSON to compare, a plot to show."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.capture.figures import Figures

COLUMNS = (
    ("inferences/s\nanswered", "answered_per_s", "{:,.0f}"),
    ("inferences/s\nstored", "stored_per_s", "{:,.0f}"),
    ("CPU s per\n1,000", "cpu_s_per_1000", "{:.3f}"),
    ("p50 ms\nat {rate:.0f}/s", "p50_ms", "{:.1f}"),
    ("p99 ms\nat {rate:.0f}/s", "p99_ms", "{:.1f}"),
    ("memory\nMB", "memory_mb", "{:.0f}"),
    ("load\nbefore", "load_before", "{:.1f}"),
)


def machine() -> dict[str, object]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def write(found: list[Figures], plan: dict[str, object], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    verdict = bars(found)
    results = {
        "machine": machine(),
        "plan": plan,
        "bars": verdict,
        "systems": [figures.as_json() for figures in found],
    }
    (out / "capture.json").write_text(json.dumps(results, indent=1) + "\n")
    console = Console(width=150)
    console.print(table(found, float(str(plan["rate"]))))
    for bar, (measured, held) in verdict.items():
        console.print(
            f"{'holds' if held else '[red]missed[/red]'}: {bar} (measured: {measured:,.2f})"
        )
    plot(found, out)


def table(found: list[Figures], rate: float) -> Table:
    made = Table(title="Capture on one core, batches of 100")
    made.add_column("system")
    for title, _, _ in COLUMNS:
        made.add_column(title.format(rate=rate), justify="right")
    for figures in found:
        values = [(getattr(figures, name), form) for _, name, form in COLUMNS]
        made.add_row(
            f"{figures.system}\n[dim]{figures.note}[/dim]",
            *("-" if value is None else form.format(value) for value, form in values),
        )
    return made


def bars(found: list[Figures]) -> dict[str, tuple[float, bool]]:
    """Return each bar of docs/benchmarks.md with what was measured and whether it holds."""
    by_name = {figures.system.split()[0]: figures for figures in found}
    ours = by_name.get("ratchet")
    phoenix = by_name.get("Arize")
    verdict: dict[str, tuple[float, bool]] = {}
    topic = by_name.get("topic")
    if topic and topic.cpu_s_per_1000 and topic.cpu_s_per_1000_of_http:
        ratio = topic.cpu_s_per_1000 / topic.cpu_s_per_1000_of_http
        verdict["a record of a topic costs at most 1.1 times the CPU of one over HTTP"] = (
            ratio,
            ratio <= 1.1,
        )
    if ours and ours.stored_per_s and ours.p99_ms:
        verdict["at least 10,000 inferences/s in batches of 100, published"] = (
            ours.stored_per_s,
            ours.stored_per_s >= 10_000,
        )
        verdict["p99 under 10 ms at 500 single requests/s"] = (ours.p99_ms, ours.p99_ms < 10)
        if phoenix and phoenix.stored_per_s:
            ratio = ours.stored_per_s / phoenix.stored_per_s
            verdict["at least 25 times Phoenix"] = (ratio, ratio >= 25)
            by_cpu = (ours.per_cpu_s or 0) / (phoenix.per_cpu_s or 1)
            verdict[
                "at least 25 times Phoenix for the same CPU time, whoever else uses the core"
            ] = (
                by_cpu,
                by_cpu >= 25,
            )
    return verdict


def plot(found: list[Figures], out: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = (
        ("inferences/s until stored", "stored_per_s", False),
        ("p99 ms at 500 single requests/s", "p99_ms", True),
        ("CPU ms for one inference", "cpu_s_per_1000", True),
        ("memory, MB", "memory_mb", False),
    )
    figure, axes = plt.subplots(
        1, len(panels), figsize=(15, 2.8), layout="constrained", sharey=True
    )
    systems = [figures.system for figures in found][::-1]
    for axis, (title, name, logarithmic) in zip(axes, panels, strict=True):
        measured = {figures.system: getattr(figures, name) for figures in found}
        values = [measured[system] or 0 for system in systems]
        colours = ["#c8553d" if system.startswith("ratchet") else "#8d99ae" for system in systems]
        drawn = axis.barh(systems, values, log=logarithmic, color=colours)
        axis.bar_label(drawn, labels=[shown(value) for value in values], padding=3, fontsize=9)
        axis.set_xlim(right=max(values) * (30 if logarithmic else 1.35))
        axis.set_title(title, fontsize=10)
        axis.tick_params(axis="x", labelsize=8)
    axes[1].axvline(10, color="black", linewidth=0.8, linestyle=":")  # the bar
    for suffix in ("png", "svg"):
        figure.savefig(out / f"capture.{suffix}", dpi=120)
    plt.close(figure)


def shown(value: float) -> str:
    return "" if not value else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
