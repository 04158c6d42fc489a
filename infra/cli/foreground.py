"""`ratchet up` in the foreground: the supervisor, the stream of logs, and a clean end on Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import replace

from rich.console import Console

from infra.cli.offer import offer_kafka
from infra.local.base_model import template_arguments_of
from infra.local.home import Home
from infra.local.logs import LogStream
from infra.local.plan import LocalConfig, base_model_of
from infra.local.supervisor import Supervisor

# A first start may compile or download; what dies is noticed much earlier.
READY_SECONDS = 600


def run_in_foreground(config: LocalConfig, quiet: bool) -> None:
    console = Console()
    offer_kafka(config.home, config.environment, console)
    # Where no model is served the trainer says it when it starts.
    is_served = config.vllm and config.wants("trainer") and not Home(config.home).is_running()
    if config.base_model and is_served:
        config = looked_at(config, console)
    asyncio.run(serve(config, console, quiet))


def looked_at(config: LocalConfig, console: Console) -> LocalConfig:
    """Return what to start, once the base model is known to be one that can be trained."""
    with console.status("looking at the base model"):
        told = template_arguments_of(base_model_of(config))
    if told:
        console.print(f"new routes tell its chat template {json.dumps(told)}", style="dim")
    return replace(config, template_arguments=told)


async def serve(config: LocalConfig, console: Console, quiet: bool) -> None:
    system = Supervisor(config, [LogStream(console, quiet)])
    stop = asyncio.Event()
    async with system:
        listen_for_signals(system, stop, console)
        stopped = asyncio.create_task(stop.wait())
        ready = asyncio.create_task(system.wait_ready(seconds=READY_SECONDS))
        await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            ready.result()
            welcome(system, console)
            await stopped
        ready.cancel()
    console.print("stopped; nothing is left running", style="dim")


def listen_for_signals(system: Supervisor, stop: asyncio.Event, console: Console) -> None:
    """Stop cleanly at the first signal, and kill at the second."""

    def on_signal() -> None:
        if stop.is_set():
            system.kill_all()
            return
        console.print(
            "stopping: services, then vLLM, then the event log (once more to kill)", style="dim"
        )
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


def welcome(system: Supervisor, console: Console) -> None:
    seconds = time.time() - system.started
    console.print(
        f"\n[bold green]ready[/]: {len(system.parts)} parts in {seconds:.0f} s", highlight=False
    )
    lines = {
        "router": "the app's base_url: {}/v1 (key 'app')",
        "review": "the reviewers' page: {}/ (keys 'reviewer-1', ...)",
    }
    for part, line in lines.items():
        if part in system.parts:
            console.print(f"  {line.format(system.urls[part])}", highlight=False, soft_wrap=True)
    console.print(f"  the keys:  {system.home.credentials_file}", highlight=False, soft_wrap=True)
    console.print(
        "  next:      ratchet routes create examples/support/route.yaml; ratchet status\n",
        highlight=False,
        soft_wrap=True,
    )
