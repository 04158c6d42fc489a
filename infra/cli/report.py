"""`ratchet status` as tables."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table

from infra.cli.console import plain_table, print_json
from infra.cli.inspection import paused
from schemas.base import JsonObject

STYLES = {
    "ready": "green",
    "starting": "yellow",
    "waiting": "dim",
    "restarting": "red",
    "unhealthy": "red",
    "failed": "bold red",
}


def print_status(status: JsonObject, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    console = Console()
    console.print(
        f"Ratchet in {status['home']}, process {status['pid']}, up"
        f" {span(time.time() - status['started'])}, event log: {status['event_log']}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(parts_table(status))
    if status["routes"]:
        print_routes(console, status["routes"])
    else:
        console.print(
            "no routes yet: ratchet routes create examples/support/route.yaml", style="dim"
        )
    if status["advice"]:
        console.print(f"! {status['advice']}", style="yellow", soft_wrap=True)
    for problem in status["problems"]:
        console.print(f"✗ {problem}", style="red", soft_wrap=True)


def parts_table(status: JsonObject) -> Table:
    table = plain_table("part", "state", "since", "pid", "restarts", "where", "lag")
    for part in status["parts"]:
        state = part["state"]
        details = outbox_details(part["health"] or {})
        details += [f"[red]paused: {topic}[/]" for topic in paused(part)]
        detail = f" ({', '.join(details)})" if details else ""
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


def outbox_details(health: JsonObject) -> list[str]:
    """Say what the outbox of a service holds back, and why."""
    pending = health.get("outbox_pending")
    parked = health.get("outbox_parked")
    details = []
    if pending:
        age = span(health.get("outbox_oldest_seconds", 0.0))
        details.append(f"{pending} to publish, the oldest for {age}")
    if parked:
        details.append(f"[red]{parked} parked[/]")
    return details + [f"[red]closed: {topic}[/]" for topic in health.get("topics_closed", {})]


def lag_of(behind: dict[str, int] | None) -> str:
    if behind is None:
        return ""
    waiting = {topic: count for topic, count in behind.items() if count}
    return ", ".join(f"{topic} {count}" for topic, count in waiting.items()) or "0"


def print_routes(console: Console, routes: list[JsonObject]) -> None:
    """Print what serves each route, and below it what its owner should know."""
    console.print(routes_table(routes))
    for route in routes:
        for warning in route["warnings"]:
            console.print(
                f"! {route['route']}: {warning}", style="yellow", markup=False, soft_wrap=True
            )
        if contest := route.get("contest"):
            said = asked_of_people(contest)
            console.print(f"{route['route']}: {said}", markup=False, soft_wrap=True)


def asked_of_people(contest: JsonObject) -> str:
    waits = f"; {contest['waits']} waits" if contest["waits"] else ""
    return (
        f"{contest['judged']} of {contest['pairs']} pairs are judged that decide about"
        f" {contest['adapter_id']}{waits}: GET /v1/comparisons/next"
    )


def routes_table(routes: list[JsonObject]) -> Table:
    table = plain_table("route", "version", "champion", "challenger", "share", "right lately")
    for route in routes:
        share = route["challenger_share"]
        table.add_row(
            route["route"],
            str(route["version"]),
            route["champion"] or "base model",
            route["challenger"] or "",
            f"{share:.0%}" if share is not None else "",
            right_lately(route.get("accuracy")),
        )
    return table


def right_lately(accuracy: JsonObject | None) -> str:
    """Show the share of right answers with its interval of 95 %."""
    if accuracy is None:
        return "too few verdicts"
    return f"{accuracy['accuracy']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})"


def span(seconds: float) -> str:
    minutes = seconds / 60
    hours = seconds / 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"
