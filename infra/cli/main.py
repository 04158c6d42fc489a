"""The `ratchet` command. Each room of commands is a module of its own; what is heavy is imported
when a command runs.
"""

from __future__ import annotations

import click
import typer
from typer.core import TyperGroup

from infra.cli import (
    datasets,
    db,
    dlq,
    jobs,
    keys,
    lineage,
    reconcile,
    replay,
    routes,
    system,
    topics,
    trace,
)


class Group(TyperGroup):
    """Expected trouble is one sentence on stderr and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        from shared.errors import RatchetError

        try:
            return super().invoke(ctx)
        except RatchetError as error:
            from rich.console import Console
            from rich.text import Text

            Console(stderr=True).print(
                Text.assemble(("✗ ", "bold red"), str(error)), soft_wrap=True
            )
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""
Ratchet: quality that only turns one way.

Production answers, human corrections and drift become new LoRA adapters, and an adapter serves only
while it is proven better than what it replaces.

[bold]A first look:[/] the loop closes twice, on real text with a real model

  [cyan]ratchet demo[/]

[bold]Your own route[/]

  [cyan]ratchet up[/]                        start everything on this machine

  [cyan]ratchet routes create FILE.yaml[/]   then ask it with any OpenAI client

  [cyan]ratchet status[/]                    what runs, and what serves each route

  [cyan]ratchet lineage INFERENCE_ID[/]      where an answer came from
""",
)

app.command()(system.up)
app.command()(system.down)
app.command()(system.status)
app.command()(system.logs)
app.command()(lineage.lineage)
app.command()(trace.trace)
app.command()(reconcile.reconcile)
app.command()(replay.replay)
app.add_typer(routes.app, name="routes")
app.add_typer(datasets.app, name="datasets")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(topics.app, name="topics")
app.add_typer(db.app, name="db")
app.add_typer(dlq.app, name="dlq")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def demo(context: typer.Context) -> None:
    """Close the loop twice, on real text with a real model, and measure it.

    [dim]$[/] ratchet demo
    [dim]$[/] ratchet demo --data messages.csv --label-column intent --late-labels refund,fraud
    """
    from infra.cli.demo import app as demonstration

    demonstration(context.args, prog_name="ratchet demo")


if __name__ == "__main__":
    app()
