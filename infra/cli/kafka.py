"""`ratchet kafka`: the durable event log of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from infra.cli.console import download_bar
from infra.kafka import install as install_kafka

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help=(
        "Install the durable event log, Apache Kafka.\n\nThe embedded event log forgets on a crash,"
        " Apache Kafka does not. Once it is installed, `ratchet up` and `ratchet demo` run it, in"
        " 190 MB of memory. It needs no rights and no Java of the system's.\n\n"
        "[dim]$[/] ratchet kafka install"
    ),
)


@app.command()
def install(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL|FILE|FOLDER",
            help="A mirror's .tgz, one that is here, or an unpacked Kafka; Apache's own site by"
            " default.",
        ),
    ] = None,
) -> None:
    """Fetch Apache Kafka once, check every jar of it, and put it where `ratchet up` finds it.

    About 130 MB, and 35 MB for a Java from pip; 230 MB when done. Uninstall it with rm -r of the
    folder that is named at the end. An interrupted run goes on where it stopped.

    [dim]$[/] ratchet kafka install
    [dim]$[/] ratchet kafka install --from https://mirror.example/kafka/4.3.1/kafka_2.13-4.3.1.tgz
    [dim]$[/] ratchet kafka install --from ~/Downloads/kafka_2.13-4.3.1.tgz
    """
    with download_bar() as progress:
        done = install_kafka(source, typer.echo, progress)
    typer.echo(
        f"Apache Kafka {done.version} is in {done.home}, and 'ratchet up' runs it (rm -r of that"
        " folder uninstalls it)"
    )
