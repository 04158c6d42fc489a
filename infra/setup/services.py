"""The clone's own environment, .venv: the six services, the trainer, the command line and the
tests.
"""

from __future__ import annotations

import hashlib
import json
import tomllib

from infra.setup.machine import check_disk
from infra.setup.places import CONSTRAINTS, ROOT, has_gpu, services_venv
from infra.setup.report import timed
from infra.setup.venvs import install_torch, make_venv, pip, works
from infra.setup.work import once, run, stamp_says, write_stamp

NEEDS_MB = 3000  # 2,200 MB when done, the rest while pip unpacks torch
IMPORTS = (  # a proof in 6 s; trl adds 30
    "aiokafka, fastapi, faststream.kafka, sqlalchemy.ext.asyncio, torch, typer"
)


def services_are_ready() -> bool:
    return works(services_venv()) and stamp_says(services_venv(), inputs())


def make_services_venv() -> None:
    once("services", services_venv(), services_are_ready, make)


def make() -> None:
    venv = services_venv()
    check_disk(venv, NEEDS_MB)
    with timed("services", "making .venv"):
        make_venv("services", venv)
        install_torch("services", venv)
        pip("services", venv, "--no-deps", "-r", str(CONSTRAINTS))
        # Resolves against what is there: installs the clone itself, and what pyproject.toml asks
        # beyond the list.
        pip("services", venv, "-c", str(CONSTRAINTS), "-e", f"{ROOT}[all,dev]")
        run(
            "services",
            [str(venv / "bin" / "python"), "-c", f"import {IMPORTS}"],
            next_step="rm -r .venv, make setup",
        )
        write_stamp(venv, inputs())


def inputs() -> str:
    """What the environment is made from. Tool settings in pyproject.toml are not: a new lint rule
    must cost nothing.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [
        CONSTRAINTS.read_text(),
        project["build-system"],
        project["project"],
        str(ROOT),
        has_gpu(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
