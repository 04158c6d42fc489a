"""Who may import whom: the contracts in pyproject.toml hold, and they would notice if they did
not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "shared", "schemas", "infra")

# path of a module that breaks a rule, what it says, and how the rule's name begins
PLANTED = [
    ("services/review/planted.py", "import services.router.state", "Services meet only on topics"),
    ("shared/planted.py", "import services.review", "Services and the programs that run them"),
    ("schemas/planted.py", "import shared.clock", "Services and the programs that run them"),
    (
        "services/review/nosy.py",
        "import services.review.settings",
        "Only the composition root knows the edges",
    ),
    (
        "services/review/upward.py",
        "import services.review.app",
        "Nothing knows the composition root",
    ),
    ("services/router/ports.py", "import httpx", "Ports know no framework"),
    ("services/review/heavy.py", "import torch", "torch and its family"),
    ("services/trainer/train.py", "", "Nobody imports what runs in a child process"),
    (
        "services/trainer/impatient.py",
        "import services.trainer.train",
        "Nobody imports what runs in a child process",
    ),
    (
        "services/capture/blocking.py",
        "from kafka import KafkaProducer",
        "kafka-python, which blocks",
    ),
    ("schemas/greedy.py", "import faststream", "Contracts import pydantic"),
]


def lint(folder: Path) -> tuple[int, list[str], str]:
    """The exit code, the names of the broken contracts, and everything that was said."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "300"},
    )
    return (
        done.returncode,
        re.findall(r"^(.+?) BROKEN", done.stdout, re.MULTILINE),
        done.stdout + done.stderr,
    )


def test_the_import_contracts_hold() -> None:
    code, broken, said = lint(ROOT)
    assert (code, broken) == (0, []), said


def test_planted_violations_are_noticed(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package,
            tmp_path / package,
            ignore=lambda folder, names: [
                name
                for name in names
                if not name.endswith(".py") and not (Path(folder) / name).is_dir()
            ],
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, source, _ in PLANTED:
        with (tmp_path / path).open("a") as file:
            file.write(f"\n{source}\n")
    code, broken, said = lint(tmp_path)
    missed = [name for _, _, name in PLANTED if not any(one.startswith(name) for one in broken)]
    assert (code, missed) == (1, []), said
