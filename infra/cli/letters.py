"""Dead letters on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from infra.cli.console import plain_table, wide_console
from infra.operations.letters import Letter
from infra.operations.settling import Outcome

STYLES = {
    "open": "red",
    "replayed": "green",
    "handled": "green",
    "dropped": "magenta",
    "pending": "yellow",
    "dead-lettered again": "red",
}


def print_letters(letters: list[Letter]) -> None:
    console = wide_console()
    if not letters:
        console.print("no dead letters", style="green")
        return
    table = plain_table("service", "topic", "event", "failed", "error", "state")
    for letter in letters:
        table.add_row(
            letter.service,
            letter.topic,
            letter.event_id,
            letter.failed_at.isoformat()[:19],
            letter.error_type + (f" ×{letter.times}" if letter.times > 1 else ""),
            Text(letter.state, STYLES.get(letter.state, "default")),
        )
    console.print(table)
    print_counts(console, (letter.state for letter in letters))


def print_outcomes(outcomes: list[Outcome]) -> None:
    console = Console()
    for outcome in outcomes:
        letter = outcome.letter
        line = Text.assemble(
            f"{letter.service}  {letter.topic}  {letter.event_id}  ",
            (outcome.outcome, STYLES.get(outcome.outcome, "yellow")),
            f"  ({outcome.why})" if outcome.why else "",
        )
        console.print(line, soft_wrap=True)
    print_counts(console, (outcome.outcome for outcome in outcomes))


def print_counts(console: Console, words: Iterable[str]) -> None:
    counted = Counter(words).most_common()
    console.print(", ".join(f"{count} {word}" for word, count in counted), style="bold")


def print_letter(letter: Letter, payload: bool) -> None:
    console = Console()
    times = "once" if letter.times == 1 else f"{letter.times} times"
    lines = {
        "event": letter.event_id,
        "service": letter.service,
        "state": letter.state,
        "from": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "failed": f"{letter.failed_at.isoformat()}, {times}, last after {letter.attempts} attempts",
        "cause": letter.cause,
        "error": letter.error_type,
        "where": letter.error,
        "body": "kept" if letter.body_is_kept else "on the DLQ topic alone, or gone",
        "size": f"{len(letter.body or b'')} bytes",
    }
    for name, value in lines.items():
        console.print(Text.assemble((f"{name:8} ", "bold"), value), soft_wrap=True)
    for name, value in sorted(letter.headers.items()):
        console.print(Text.assemble((f"  {name}: ", "dim"), value), soft_wrap=True)
    if payload:
        console.print(Text((letter.body or b"").decode("utf-8", "replace")), soft_wrap=True)
    else:
        console.print("the body is personal data: --payload prints it", style="dim")
