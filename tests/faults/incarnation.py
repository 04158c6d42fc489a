"""In the forked child: one real service, from its composition root to its HTTP port, with what the
test arranged for it.
"""

from __future__ import annotations

import importlib
import random
import resource
from collections.abc import Callable
from functools import partial
from typing import Any

from shared import failpoints
from shared.events import bus
from shared.jobs.store import JobStore
from shared.service import Service
from tests.faults.life import Life
from tests.faults.stand_ins import QuickExecutor, QuickReports
from tests.faults.switches import (
    SWITCHES,
    note_what_fires,
    set_clock,
    take_detours,
    witness_effects,
)


def import_everything() -> None:
    """What a service imports only when it first needs it counts too: a fork has it for nothing."""
    for name in ("capture", "review", "dataset_builder", "trainer", "evaluator", "router"):
        importlib.import_module(f"services.{name}.app")
        importlib.import_module(f"services.{name}.settings")
    for name in (
        "aiosqlite",
        "asyncpg",
        "httptools",
        "uvicorn.lifespan.on",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.http.httptools_impl",
        "sqlalchemy.dialects.postgresql.asyncpg",
        "sqlalchemy.dialects.sqlite.aiosqlite",
        "pyarrow.parquet",
        "fsspec.implementations.local",
    ):
        importlib.import_module(name)


def live(life: Life) -> None:
    """Returns when the service was told to stop."""
    random.seed()
    for path, value in life.constants.items():
        module, _, name = path.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    if life.clock:
        set_clock(life.clock)
    take_detours({int(port): proxy for port, proxy in life.detours.items()})
    witness_effects(life.service, life.slow)
    for switch in life.switches:
        SWITCHES[switch]()
    if life.job_lease:
        JobStore.__init__.__defaults__ = (life.job_lease, None)
    if life.session:
        bus.SESSION_TIMEOUT_MS = round(1000 * life.session)
    service = build(life)
    note_what_fires(life.fired)
    for armed in life.armed:
        failpoints.arm(armed.point, armed.action, armed.nth)
    if life.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (life.file_limit, life.file_limit))
    service.run()


def build(life: Life) -> Service:
    package = life.service.replace("-", "_")
    app = importlib.import_module(f"services.{package}.app")
    settings = importlib.import_module(f"services.{package}.settings").Settings(**life.settings)
    make: Callable[[Any], Service] = app.build
    if life.service == "trainer":
        make = partial(make, executor=QuickExecutor(life.training_seconds))
    if life.service == "evaluator":
        app.ChildReports = QuickReports
    return make(settings)
