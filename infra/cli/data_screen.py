"""What `ratchet data check` prints: one screen, in plain lines."""

from __future__ import annotations

import json

from rich.console import Console
from rich.text import Text

from infra.data.look import LOOKED_AT
from infra.data.reading import DataFile
from infra.data.spelling import shown
from infra.demo.check import Examined

# What fits on a screen.
LABELS_SHOWN = 12
MERGED_SHOWN = 4
BAR = 30
SAMPLES_SHOWN = 2
CHARACTERS_SHOWN = 70
INDENT = 12


def show(found: Examined) -> None:
    console = Console(soft_wrap=True)

    def say(name: str, *lines: str) -> None:
        for number, line in enumerate(lines):
            head = Text(f"{name if number == 0 else '':<{INDENT}}", style="bold")
            console.print(head + Text(line), highlight=False)

    if found.data is not None and found.look is not None:
        look = found.look
        say("file", *written(found.data))
        say("columns", *columns(found.data))
        say("rows", *rows(found.data))
        if found.data.task == "classification":
            say("labels", *labels(found.data))
        else:
            say("answers", *json.dumps(found.data.output_schema, ensure_ascii=False).splitlines())
        scripts = ", ".join(f"{name} {count}" for name, count in look.scripts.items())
        say(
            "messages",
            f"{look.shortest} to {look.longest} characters, half of them under {look.median};"
            f" the longest takes about {look.longest_tokens} tokens",
            f"script: {scripts}",
            f"personal data that is redacted: in {look.personal} of the first"
            f" {min(LOOKED_AT, len(found.data.samples))}",
        )
    if found.demo:
        say(
            "the demo", *found.demo.notes, f"answers have up to {found.demo.spec.max_tokens} tokens"
        )
    if found.unusable:
        console.print(Text("✗ ", style="bold red") + Text(found.unusable), highlight=False)
    say("then" if found.unusable else "next", found.next)


def written(data: DataFile) -> list[str]:
    said = [f"{data.path}: {data.table.form}, {data.text.encoding}"]
    if data.text.guessed:
        said.append(
            f"that it is {data.text.encoding} is a guess: where the messages below look wrong,"
            " name the right one with --encoding"
        )
    return said


def columns(data: DataFile) -> list[str]:
    names = data.table.columns
    kind = "JSON answers" if data.task == "extraction" else "labels"
    all_names = ", ".join(repr(name) for name in names[:LABELS_SHOWN])
    text, answer = names[data.chosen.text], names[data.chosen.answer]
    said = [f"messages in '{text}', {kind} in '{answer}' (of {all_names})"]
    if not data.table.has_header:
        said.append("the file has no header: its first row is a message, columns have numbers")
    for sample in data.samples[:SAMPLES_SHOWN]:
        line = " ".join(sample.text.split())
        cut = line if len(line) <= CHARACTERS_SHOWN else f"{line[:CHARACTERS_SHOWN]}…"
        said.append(f"{cut!r} -> {sample.answer[:CHARACTERS_SHOWN]!r}")
    return said


def rows(data: DataFile) -> list[str]:
    total = data.losses.total
    return [
        f"{data.rows}: {len(data.samples)} read, {total} skipped" + (":" if total else ""),
        *(f"  {sentence}" for sentence in data.losses.sentences()),
    ]


def labels(data: DataFile) -> list[str]:
    counts = data.labels().most_common()
    most = counts[0][1]
    said = [f"{len(counts)}"]
    said += [
        f"{'█' * max(1, round(BAR * count / most)):<{BAR}} {count:>6} {label}"
        for label, count in counts[:LABELS_SHOWN]
    ]
    if len(counts) > LABELS_SHOWN:
        rest = counts[LABELS_SHOWN:]
        said.append(f"and {len(rest)} more, with {rest[-1][1]} to {rest[0][1]} messages each")
    for label, others in list(data.merged.items())[:MERGED_SHOWN]:
        spellings = ", ".join(f"'{shown(other)}' ({count})" for other, count in others.items())
        said.append(f"taken as '{label}': {spellings}")
    if len(data.merged) > MERGED_SHOWN:
        said.append(f"and {len(data.merged) - MERGED_SHOWN} more with several spellings")
    return said
