"""Virtual environments from a list of exact versions."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from infra.setup.machine import SetupError
from infra.setup.places import has_gpu
from infra.setup.report import say
from infra.setup.work import run

PIP = (  # Python 3.11 brings 23.2, which takes twice as long for the same list: 54 s against 25 s
    "26.3"
)
TORCH = "2.13.0"
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
    """Also mends one that an interrupted run or a moved Python left broken."""
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


def install_torch(step: str, venv: Path) -> None:
    """Without a GPU the CPU build (750 MB; the CUDA build is 5.5 GB), from wherever pip looks, else
    from PyTorch itself.
    """
    build = (
        "" if has_gpu() or platform.system() == "Darwin" else "+cpu"
    )  # PyTorch names no CPU build for a Mac
    wanted = ["--no-deps", f"torch=={TORCH}{build}"]
    try:
        pip(step, venv, *wanted)
    except SetupError:
        if not build:
            raise
        say(step, f"torch {TORCH}+cpu is not in your package index; taking it from PyTorch's")
        pip(step, venv, *wanted, "--extra-index-url", PYTORCH_CPU_INDEX)
