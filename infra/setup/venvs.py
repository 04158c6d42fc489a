"""Virtual environments from a list of exact versions."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from infra.setup.lock import entries
from infra.setup.machine import SetupError
from infra.setup.places import CUDA_CONSTRAINTS, has_gpu
from infra.setup.report import say
from infra.setup.work import run

# Python 3.11 brings 23.2, which takes twice as long for the same list: 54 s against 25 s.
PIP = "26.3"
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# --no-deps: the list is complete, and resolving 150 packages again costs as long as installing
# them. --no-compile: pip would byte-compile 40,000 files of which a process imports a fraction;
# what is used is compiled on first use.
FAST = ["install", "--quiet", "--no-compile", "--prefer-binary", "--disable-pip-version-check"]
NEXT = (
    "check the network or your package index, then run the same command again: it goes on where it"
    " stopped"
)


def make_venv(step: str, venv: Path) -> None:
    """Make an environment, or mend one that an interrupted run or a moved Python left broken."""
    if not works(venv):
        run(
            step,
            [sys.executable, "-m", "venv", "--clear", str(venv)],
            next_step="apt-get install python3-venv",
        )
        pip(step, venv, f"pip=={PIP}")


def works(venv: Path) -> bool:
    return (venv / "bin" / "python").exists() and (venv / "bin" / "pip").exists()


def pip(step: str, venv: Path, *arguments: str) -> None:
    run(step, [str(venv / "bin" / "python"), "-m", "pip", *FAST, *arguments], next_step=NEXT)


def install_listed(step: str, venv: Path, constraints: Path) -> None:
    """Install a lock list: nothing beside it, and no file whose hash is not in it."""
    install_torch(step, venv, constraints)
    lists = [constraints, CUDA_CONSTRAINTS] if has_gpu() else [constraints]
    for path in lists:
        pip(step, venv, "--require-hashes", "--no-deps", "-r", str(path))


def install_torch(step: str, venv: Path, constraints: Path) -> None:
    """Install torch before all others, without a GPU the CPU build (750 MB; CUDA's is 5.5 GB).

    It comes from wherever pip looks, else from PyTorch's own index.
    """
    listed = entries(constraints.read_text("utf-8"))["torch"]
    # PyTorch names no CPU build for a Mac.
    build = "" if has_gpu() or platform.system() == "Darwin" else "+cpu"
    version = listed.split()[0]
    wanted = venv / "torch.txt"
    wanted.write_text(listed.replace(version, f"{version}{build}", 1))
    arguments = ["--require-hashes", "--no-deps", "-r", str(wanted)]
    try:
        pip(step, venv, *arguments)
    except SetupError:
        if not build:
            raise
        say(step, f"{version}{build} is not in your package index; taking it from PyTorch's")
        pip(step, venv, *arguments, "--extra-index-url", PYTORCH_CPU_INDEX)
