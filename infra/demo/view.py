"""What the demo shows while it runs: a progress bar, and a line for all that happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from schemas.base import JsonObject


class Bar:
    def __init__(self, progress: Progress, task: TaskID, name: str) -> None:
        self._progress = progress
        self._task = task
        self._name = name

    def advance(self) -> None:
        self._progress.advance(self._task)

    def training(self, job: JsonObject, attempt: int) -> None:
        loss = job.get("loss")
        again = f" (attempt {attempt})" if attempt > 1 else ""
        words = f"{self._name}{again}" + (
            f", loss {loss:.3f}" if loss is not None else f": {job.get('detail') or 'starting'}"
        )
        self._progress.update(
            self._task,
            completed=job.get("step", 0),
            total=job.get("steps") or None,
            description=words,
        )


class View:
    def __init__(self, console: Console) -> None:
        self.console = console

    def act(self, title: str) -> None:
        self.console.rule(f"[bold]{title}")

    def note(self, text: str) -> None:
        self.console.print(f"  [green]•[/] {text}", highlight=False)

    def measured(self, phase: str, accuracy: float) -> None:
        self.note(f"{phase}: accuracy [bold]{accuracy:.0%}[/]")

    def gate(self, evaluation: JsonObject) -> None:
        arms = ", ".join(f"{arm['arm']} {arm['accuracy']:.0%}" for arm in evaluation["arms"])
        self.note(
            f"gate: [bold]{evaluation['verdict']}[/] ({arms}; n={evaluation['arms'][0]['n']})"
        )
        for reason in evaluation["reasons"]:
            self.console.print(f"      {reason}", style="dim", highlight=False)

    @contextmanager
    def bar(self, name: str, total: int | None) -> Iterator[Bar]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bar(progress, progress.add_task(name, total=total), name)

    @contextmanager
    def spinner(self, name: str) -> Iterator[None]:
        with self.bar(name, None):
            yield
