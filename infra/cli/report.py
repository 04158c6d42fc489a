"""`ratchet status` as tables."""

from __future__ import annotations

import json as jsonlib
import time
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

STYLES = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "dim",
    "restarting": "red",
    "unhealthy": "red",
    "failed": "bold red",
}


def print_status(status: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(jsonlib.dumps(status, indent=1))
        return
    console = Console()
    console.print(
        f"Ratchet in {status['home']}, process {status['pid']}, up"
        f" {span(time.time() - status['started'])}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(parts_table(status))
    if status["routes"]:
        console.print(routes_table(status["routes"]))
    else:
        console.print(
            "no routes yet: ratchet routes create examples/support/route.yaml", style="dim"
        )
    for problem in status["problems"]:
        console.print(f"✗ {problem}", style="red", soft_wrap=True)


def parts_table(status: dict[str, Any]) -> Table:
    table = Table(
        "part",
        "state",
        "since",
        "pid",
        "restarts",
        "where",
        "lag",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for part in status["parts"]:
        state = part["state"]
        health = part["health"] or {}
        pending = health.get("outbox_pending")
        detail = f" ({pending} to publish)" if pending else ""
        table.add_row(
            part["name"],
            f"[{STYLES.get(state, 'default')}]{state}[/]{detail}",
            span(time.time() - part["since"]),
            str(part["pid"] or ("" if part["ours"] else "not ours")),
            str(part["restarts"] or ""),
            part["url"],
            lag_of(status["lag"].get(part["name"])),
        )
    return table


def lag_of(behind: dict[str, int] | None) -> str:
    if behind is None:
        return ""
    waiting = {topic: count for topic, count in behind.items() if count}
    return ", ".join(f"{topic} {count}" for topic, count in waiting.items()) or "0"


def routes_table(routes: list[dict[str, Any]]) -> Table:
    table = Table(
        "route",
        "version",
        "champion",
        "challenger",
        "share",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for route in routes:
        share = route["challenger_share"]
        table.add_row(
            route["route"],
            str(route["version"]),
            route["champion"] or "base model",
            route["challenger"] or "",
            f"{share:.0%}" if share is not None else "",
        )
    return table


def span(seconds: float) -> str:
    minutes = seconds / 60
    hours = seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"
