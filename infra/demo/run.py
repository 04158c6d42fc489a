"""Runs the demo: starts the system, tells the story, reports what was measured, stops it."""

from __future__ import annotations

import asyncio
import io
import os
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from infra.cli.client import Client
from infra.cli.tree import lineage_tree
from infra.demo.data import DemoData
from infra.demo.platform import Platform
from infra.demo.record import Record
from infra.demo.report import print_tables, write_html
from infra.demo.reviewers import Reviewers
from infra.demo.story import Story
from infra.demo.traffic import AnsweredMessage, App
from infra.demo.view import View
from infra.lineage import gather
from infra.local.home import AlreadyRunning, Home
from infra.local.plan import LocalConfig
from infra.local.supervisor import Supervisor
from shared.errors import RatchetError

REVIEWERS = ("reviewer-1", "reviewer-2", "reviewer-3")
# A canary of a production's size would be most of a ten-minute demo, and so would an error monitor
# that may raise one false alarm in 2,000 labels.
HURRIED = {
    "ROUTER_CANARY_SHARE": "0.5",
    "ROUTER_CANARY_REQUESTS": "10",
    "ROUTER_CANARY_SECONDS": "1",
    # Two blocks of labels as bad as act 2 makes them reach it, and two as in act 1 do not: the demo
    # has about 60 audited labels, and at 500 drift was missed in one of two runs.
    "EVALUATOR_ERROR_ARL": "60",
}


@dataclass(frozen=True)
class Options:
    home: Path
    port_base: int
    error_rate: float
    seed: int
    stay: bool


async def run_demo(data: DemoData, options: Options, console: Console) -> bool:
    """Return whether all acts succeeded by measurement."""
    started = time.monotonic()
    clear(options.home)
    view = View(console)
    config = LocalConfig(
        home=options.home, port_base=options.port_base, environment=dict(os.environ) | HURRIED
    )
    async with Supervisor(config) as system:
        with view.spinner("starting the event log, six services and vLLM"):
            # Not needed before a training ended.
            await system.wait_ready(*(part for part in system.parts if part != "vllm-evaluation"))
        view.note(
            f"everything runs after {time.monotonic() - started:.0f} s; reviewers' pages:"
            f" {system.urls['review']}, logs: {system.home.logs}"
        )
        story = make_story(system, data, options, view, started)
        await story.platform.put_route(data.spec)
        working = asyncio.create_task(story.reviewers.run())
        try:
            await until_told(story, working)
            lineage = lineage_of(system, last_tuned(story.app.answered))
            finish(
                console,
                story,
                lineage,
                system.home.path / "report.html",
                time.monotonic() - started,
            )
            if options.stay:
                await stay(console, system)
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
    return all(result.passed for result in story.record.results())


def clear(folder: Path) -> None:
    """Empty the demo's folder; raise where something runs in it, or it is not a demo's."""
    if Home(folder).is_running():
        raise AlreadyRunning(folder, Home(folder).state()["pid"])
    if folder.exists() and any(folder.iterdir()) and not (folder / "lock").exists():
        raise RatchetError(f"{folder} is not the home of a demo: name an empty folder with --home")
    shutil.rmtree(folder, ignore_errors=True)


def make_story(
    system: Supervisor, data: DemoData, options: Options, view: View, started: float
) -> Story:
    keys = {name: system.credentials[name] for name in REVIEWERS}
    return Story(
        app=App(
            system.urls["router"], system.credentials["app"], data.spec, set(data.late), started
        ),
        data=data,
        platform=Platform(system.urls, system.credentials["admin"]),
        view=view,
        record=Record(started, data.spec.targets.max_risk),
        reviewers=Reviewers(
            system.urls["review"],
            keys,
            data.spec,
            data.true_answers(),
            options.error_rate,
            options.seed,
        ),
    )


async def until_told(story: Story, working: asyncio.Task[None]) -> None:
    """Tell the story; a reviewer that breaks ends it at once, with the reviewer's error."""
    telling = asyncio.create_task(story.tell())
    await asyncio.wait({telling, working}, return_when=asyncio.FIRST_COMPLETED)
    if not telling.done():
        telling.cancel()
        working.result()
    telling.result()


def last_tuned(answered: list[AnsweredMessage]) -> AnsweredMessage:
    """Return the last answer of an adapter, a confident and right one where there is one."""
    tuned = [one for one in answered if one.arm != "base"] or answered
    return max(reversed(tuned), key=lambda one: (one.outcome == "confident", one.correct))


def lineage_of(system: Supervisor, answered: AnsweredMessage) -> str:
    facts = gather(Client(system.urls, system.credentials["admin"]), answered.inference_id)
    text = io.StringIO()
    Console(file=text, width=150).print(lineage_tree(facts))
    return text.getvalue()


def finish(console: Console, story: Story, lineage: str, page: Path, seconds: float) -> None:
    console.rule("[bold]One answer, back to its reviewers")
    console.print(lineage, highlight=False, markup=False)
    write_html(
        page,
        story,
        lineage,
        seconds,
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    )
    print_tables(console, story, seconds)
    console.print(f"report: {page}", highlight=False)


async def stay(console: Console, system: Supervisor) -> None:
    console.print(
        f"everything keeps running (Ctrl-C stops it); the router is at {system.urls['router']}"
    )
    await asyncio.Event().wait()
