"""What `ratchet data check` finds out: the file, and what the demo would do with it."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.data.look import Look, look_at
from infra.data.losses import DataUnusable
from infra.data.reading import DataFile, Reading, read_file
from infra.demo.data import DemoData
from infra.demo.own import from_file
from schemas.base import JsonObject


@dataclass(frozen=True)
class Examined:
    """A file as it was found; `data` is None where it cannot even be read."""

    path: Path
    data: DataFile | None
    look: Look | None
    demo: DemoData | None
    # What to change; None when the demo can use the file.
    unusable: str | None
    # The command to run next.
    next: str

    def as_json(self) -> JsonObject:
        found: JsonObject = {
            "file": str(self.path),
            "usable": self.unusable is None,
            "change": self.unusable,
            "next": self.next,
        }
        if self.data and self.look:
            found |= facts(self.data) | {"messages": asdict(self.look)}
        if self.demo:
            plan = self.demo.plan
            found["demo"] = {
                "notes": self.demo.notes,
                "act_1": plan.baseline,
                "act_2": plan.more_late if plan.without_act_two is None else None,
                "late_labels": list(self.demo.late),
                "route": self.demo.spec.model_dump(mode="json"),
            }
        return found


def facts(data: DataFile) -> JsonObject:
    names = data.table.columns
    return {
        "encoding": data.text.encoding,
        "encoding_guessed": data.text.guessed,
        "form": data.table.form,
        "header": data.table.has_header,
        "columns": list(names),
        "text_column": names[data.chosen.text],
        "answer_column": names[data.chosen.answer],
        "task": data.task,
        "rows": data.rows,
        "read": len(data.samples),
        "skipped": data.losses.counts(),
        "skipped_lines": data.losses.lines,
        "labels": dict(data.labels().most_common()),
        "merged_labels": data.merged,
        "output_schema": data.output_schema,
    }


def examine(path: Path, how: Reading, labels: int) -> Examined:
    """Read a file and plan its story; what is wrong with it is part of the answer."""
    again = f"ratchet data check {shlex.quote(str(path))}"
    try:
        data = read_file(path, how)
    except DataUnusable as error:
        return Examined(path, None, None, None, str(error), again)
    look = look_at(data)
    try:
        demo = from_file(data, [], labels, seed=7)
    except DataUnusable as error:
        return Examined(path, data, look, None, str(error), again)
    return Examined(path, data, look, demo, None, command(data, how, labels))


def command(data: DataFile, how: Reading, labels: int) -> str:
    """Return the demo's command for this file, with the columns that were found."""
    names = Counter(data.table.columns)

    def column(place: int) -> str:
        name = data.table.columns[place]
        return name if name and names[name] == 1 else str(place + 1)

    kind = "--answer-column" if data.task == "extraction" else "--label-column"
    words = ["ratchet", "demo", "--data", str(data.path)]
    words += ["--text-column", column(data.chosen.text), kind, column(data.chosen.answer)]
    if how.encoding:
        words += ["--encoding", how.encoding]
    if how.separator:
        words += ["--separator", how.separator]
    if how.missing_are_labels:
        words += ["--missing-are-labels"]
    if data.task == "classification" and labels != 10:
        words += ["--labels", str(labels)]
    return shlex.join(words)
