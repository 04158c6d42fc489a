"""One run of everything: start the system, let clients work while something bad happens, let it
come to rest, check all of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from infra.operations.accounts import Balance
from infra.operations.books import open_books
from infra.operations.reconcile import reconcile
from schemas.route import RouteSpec
from tests.faults.checker import Kind, Verdict
from tests.faults.domain import check_everything
from tests.faults.drain import drain
from tests.faults.evidence import EventKey, Evidence, gather
from tests.faults.history import History
from tests.faults.killer import Toll
from tests.faults.workload import Clients
from tests.faults.world import World

REPORTS = Path(os.environ.get("FAULT_REPORTS", ".ratchet/faults"))


def seed_of_this_run(default: int | None = None) -> int:
    """FAULT_SEED repeats a run; without it each run is a new one, unless the test is a fixed part
    of `make test`.
    """
    return int(
        os.environ.get("FAULT_SEED", default if default is not None else time.time_ns() % 1_000_000)
    )


@dataclass
class Outcome:
    seed: int
    verdict: Verdict
    left: Counter[str]  # what was still on the way after all patience
    operations: dict[str, dict[str, int]]
    seconds: float
    evidence: Evidence
    balance: Balance  # `ratchet reconcile` over the same world
    refused: list[str] = field(default_factory=list)
    toll: Toll = field(default_factory=Toll)

    def explain(self) -> str:
        return "\n".join(
            [
                (
                    f"seed {self.seed} (repeat with FAULT_SEED={self.seed}), {self.seconds:.0f} s,"
                    f" {self.toll.total} kills {dict(self.toll.kills)}"
                ),
                f"operations {self.operations}",
                f"still on the way {dict(self.left)}",
                f"unplanned ends {self.toll.early[:5]}",
                f"refused {self.refused[:5]}",
                (
                    f"reconcile: {self.balance.lost} lost, doubled"
                    f" { {topic: len(ids) for topic, ids in self.balance.doubled.items() if ids} }"
                ),
                self.verdict.explain(),
            ]
        )

    def must_hold(self, apart_from: Collection[Kind] = ()) -> None:
        assert not self.left, self.explain()
        found = [one for one in self.verdict.findings if one.kind not in apart_from]
        assert not found, self.explain()
        assert self.balance.holds, self.explain()


async def run_scenario(
    world: World,
    seed: int,
    during: Callable[[Clients], Awaitable[Toll | None]],
    *,
    pause: float = 0.1,
    route: RouteSpec | None = None,
    patience: float = 60.0,
    servers: str | None = None,
    foreign: set[EventKey] | None = None,
) -> Outcome:
    """`servers`: where the log is read from at the end, when the services reach it through a
    proxy.
    """
    started = time.monotonic()
    history = History(world.folder / "history.jsonl")
    clients = Clients(world, history, seed, pause)
    await world.start_all()
    await clients.begin(route)
    working = asyncio.create_task(clients.run())
    toll = await during(clients) or Toll()
    clients.stopping = True
    await working
    left = await drain(world, patience)
    servers = servers or world.servers
    evidence = await gather(world.databases, servers, history, foreign)
    async with open_books(world.databases) as books:
        balance = await reconcile(books, servers)
    return Outcome(
        seed,
        check_everything(evidence),
        left,
        history.counts(),
        time.monotonic() - started,
        evidence,
        balance,
        clients.refused,
        toll,
    )


def report(name: str, outcome: Outcome) -> None:
    """Numbers for people and for programs."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    verdict = outcome.verdict
    services = sorted({service for service, _ in outcome.toll.kills})
    facts = {
        "name": name,
        "seed": outcome.seed,
        "seconds": round(outcome.seconds, 1),
        "kills": outcome.toll.total,
        "lost": verdict.count("lost"),
        "doubled": verdict.count("doubled"),
        "pending": verdict.count("pending") + outcome.left.total(),
        "findings": len(verdict.findings),
        "operations": outcome.operations,
        "numbers": dict(verdict.numbers),
        "reconcile": {"holds": outcome.balance.holds, "lost": outcome.balance.lost},
        "kills_by_service_and_point": {
            service: {
                point: n for (s, point), n in sorted(outcome.toll.kills.items()) if s == service
            }
            for service in services
        },
    }
    (REPORTS / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    (REPORTS / f"{name}.md").write_text(as_markdown(facts, outcome))


def as_markdown(facts: dict, outcome: Outcome) -> str:
    points = sorted({point for _, point in outcome.toll.kills})
    services = list(facts["kills_by_service_and_point"])
    findings = (
        f"{facts['lost']} lost, {facts['doubled']} doubled, {facts['pending']} pending,"
        f" {facts['findings']} findings in all"
    )
    lines = [
        f"# {facts['name']}",
        "",
        f"Seed {facts['seed']}, {facts['seconds']:.0f} s, {facts['kills']} kills: {findings}.",
        "",
    ]
    lines += [
        "| what was counted | |",
        "|---|---|",
        *(f"| {name} | {number} |" for name, number in sorted(facts["numbers"].items())),
        "",
    ]
    lines += (
        [f"| killed at | {' | '.join(services)} |", "|---" * (len(services) + 1) + "|"]
        if services
        else []
    )
    lines += [
        f"| {point} |"
        f" {' | '.join(str(outcome.toll.kills[service, point]) for service in services)} |"
        for point in points
    ]
    return "\n".join(
        [*lines, "", *([outcome.verdict.explain()] if outcome.verdict.findings else []), ""]
    )
