"""The `ratchet` command: a table of commands, each imported only when it is asked for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

from shared.errors import RatchetError

if TYPE_CHECKING:
    # Typer carries a click of its own, which is not the package of that name.
    from typer._click import Command, Context, HelpFormatter


@dataclass(frozen=True)
class Entry:
    """Where a command is: the attribute is a function, or a `Typer` with commands of its own."""

    module: str
    attribute: str
    # The first sentence of the command's own help, which a test holds equal.
    line: str


COMMANDS = {
    "up": Entry("system", "up", "Start everything on this machine, and stop it with Ctrl-C."),
    "down": Entry(
        "system",
        "down",
        "Stop what `ratchet up` started in this folder, from another terminal.",
    ),
    "status": Entry(
        "system",
        "status",
        "Show each part and its health, how far the consumers are behind, and what serves each"
        " route.",
    ),
    "logs": Entry("system", "logs", "Print the end of one part's log."),
    "lineage": Entry(
        "lineage",
        "lineage",
        "Show where an answer came from: adapter, gate, dataset, training rows and reviewers.",
    ),
    "trace": Entry(
        "trace",
        "trace",
        "Show an event's way: accepted, published, consumed by whom, with what effect, and what"
        " followed.",
    ),
    "reconcile": Entry(
        "reconcile",
        "reconcile",
        "Check the promise over everything: of each topic and consumer, accepted = handled +"
        " dead-lettered + dropped + pending.",
    ),
    "replay": Entry(
        "replay",
        "replay",
        "Set a stopped service back in the log, so that it reads that part again when it starts.",
    ),
    "redact": Entry(
        "redact",
        "redact",
        "Go over what older releases stored with the rules of redaction of this one.",
    ),
    "demo": Entry(
        "demo",
        "demo",
        "Close the loop twice, on real text with a real model, and measure it.",
    ),
    "data": Entry(
        "data",
        "app",
        "Look at a file of messages: what is in it, and what Ratchet would do with it.",
    ),
    "routes": Entry("routes", "app", "List, create, show and roll back routes."),
    "datasets": Entry("datasets", "app", "Build and list dataset versions."),
    "jobs": Entry(
        "jobs",
        "app",
        "List, show, cancel and retry trainings, evaluations and dataset builds.",
    ),
    "capture": Entry("capture", "app", "Try what capture would make of an app's own topic."),
    "keys": Entry("keys", "app", "Create, list and revoke API keys."),
    "topics": Entry("topics", "app", "Create, list and describe the topics of the event log."),
    "kafka": Entry("kafka", "app", "Install the durable event log, Apache Kafka."),
    "db": Entry("db", "app", "Show and move the schema of each service's database."),
    "dlq": Entry(
        "dlq",
        "app",
        "List, show, replay and drop dead letters: events that a service could not digest.",
    ),
    "consumers": Entry(
        "consumers",
        "app",
        "List and resume consumers that paused: our own code failed, or a mapping fits nothing.",
    ),
}


class PackageMissing(RatchetError):
    def __init__(self, command: str, package: str) -> None:
        super().__init__(
            f"'ratchet {command}' needs the package {package}, which this installation leaves out:"
            " install ratchet[infra], or run it in a clone after 'make setup'"
        )


class LazyCommands(Mapping[str, "Command"]):
    """The commands by name; getting one imports its module."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries

    def __getitem__(self, name: str) -> Command:
        entry = self.entries[name]
        try:
            module = importlib.import_module(f"infra.cli.{entry.module}")
        except ModuleNotFoundError as error:
            raise PackageMissing(name, error.name or "") from error
        found = getattr(module, entry.attribute)
        if isinstance(found, typer.Typer):
            group = typer.main.get_group(found)
            group.name = name
            return group
        alone = typer.Typer(
            rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False
        )
        alone.command(name)(found)
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class Group(TyperGroup):
    """Shows its help without Rich, and expected trouble as one sentence with exit code 1.

    Rich alone takes 0.2 s of CPU to import, more than all the rest of `ratchet --help`.
    """

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # Typer hands its own settings on
        self.commands = LazyCommands(COMMANDS)  # type: ignore[assignment]  # it is only read

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        super(TyperGroup, self).format_help(ctx, formatter)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items()])

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if not args:
            typer.echo(ctx.get_help())
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Context) -> object:
        try:
            return super().invoke(ctx)
        except RatchetError as error:
            mark = typer.style("✗", fg="red", bold=True)
            typer.echo(
                f"{mark} {error}", err=True, color=False if "NO_COLOR" in os.environ else None
            )
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Group,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(context_settings={"max_content_width": 100})
def ratchet() -> None:
    """Ratchet: quality that only turns one way.

    Production answers, human corrections and drift become new LoRA adapters, and an adapter serves
    only while it is proven better than what it replaces.

    A first look: the loop closes twice, on real text with a real model

      ratchet demo

    Your own route

    \b
      ratchet up                        start everything on this machine
      ratchet routes create FILE.yaml   then ask it with any OpenAI client
      ratchet status                    what runs, and what serves each route
      ratchet lineage INFERENCE_ID      where an answer came from
    """


if __name__ == "__main__":
    app()
