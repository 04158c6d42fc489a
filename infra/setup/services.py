"""Makes the clone's own environment, .venv: for services, command line and tests."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

from infra.setup.machine import check_disk, why_it_does_not_start
from infra.setup.places import CONSTRAINTS, ROOT, has_gpu, services_venv
from infra.setup.report import say, timed
from infra.setup.venvs import install_listed, make_venv, pip, works
from infra.setup.work import once, run, stamp_says, write_stamp

# 2,200 MB when done, the rest while pip unpacks torch.
NEEDS_MB = 3000
# They prove in 6 s that it works; trl would add 30.
IMPORTS = "aiokafka, fastapi, faststream.kafka, sqlalchemy.ext.asyncio, torch, typer"


def services_are_ready() -> bool:
    return works(services_venv()) and stamp_says(services_venv(), inputs())


def make_services_venv() -> None:
    once("services", services_venv(), services_are_ready, make)


def make() -> None:
    venv = services_venv()
    check_disk(venv, NEEDS_MB)
    with timed("services", "making .venv"):
        make_venv("services", venv)
        install_listed("services", venv, CONSTRAINTS)
        # The list holds what builds the project, too.
        pip("services", venv, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        run(
            "services",
            [str(venv / "bin" / "python"), "-c", f"import {IMPORTS}"],
            next_step="rm -r .venv, make setup",
        )
        write_stamp(venv, inputs())
        check_event_log(venv)


def check_event_log(venv: Path) -> None:
    """Say it now where the embedded event log cannot start here; tests and Kafka do without it."""
    for binary in venv.glob("lib/python*/site-packages/noida_db/noida-db"):
        binary.chmod(0o755)
        if reason := why_it_does_not_start(binary):
            say(
                "services",
                f"the embedded event log does not start on this machine ({reason}). Before"
                " 'ratchet up': ratchet kafka install",
            )


def inputs() -> str:
    """Return a digest of what the environment is made from; a new lint rule is no part of it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [
        CONSTRAINTS.read_text(),
        project["build-system"],
        project["project"],
        str(ROOT),
        has_gpu(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
