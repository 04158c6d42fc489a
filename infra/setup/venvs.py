"""Virtual environments from a list of exact versions."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.setup.lock import entries
from infra.setup.machine import SetupError, check_disk
from infra.setup.places import CUDA_CONSTRAINTS, has_gpu
from infra.setup.report import say
from infra.setup.work import run

# Python 3.11 brings 23.2, which takes twice as long for the same list: 54 s against 25 s.
PIP = "26.3"
# Of what may be silent: 20 s until that is certain, where pip alone takes two minutes.
BOUNDED = ("--timeout", "10", "--retries", "1")
# How pip says that no index has a package, asked for one without its dependencies: the second where
# PIP_CONSTRAINT is set.
NOWHERE = re.compile("No matching distribution|ResolutionImpossible")
# On Linux PyPI has the CUDA build, which cannot be imported without NVIDIA's libraries: 4.5 GB when
# done, the rest while pip unpacks.
PYPI_BUILD_MB = 5500
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# --no-deps: the list is complete, and resolving 150 packages again costs as long as installing
# them. --no-compile: pip would byte-compile 40,000 files of which a process imports a fraction;
# what is used is compiled on first use.
FAST = ["install", "--quiet", "--no-compile", "--prefer-binary", "--disable-pip-version-check"]
LISTED = ("--require-hashes", "--no-deps", "-r")
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
    with_cuda = has_gpu()
    try:
        install_torch(step, venv, constraints)
    except NoCpuBuild as error:
        install_torch_of_pypi(step, venv, constraints, error)
        with_cuda = True
    install_rest(step, venv, [constraints, CUDA_CONSTRAINTS] if with_cuda else [constraints])


def install_rest(step: str, venv: Path, lists: Sequence[Path]) -> None:
    for path in lists:
        pip(step, venv, *LISTED, str(path))


class NoCpuBuild(SetupError):
    def __init__(self, version: str) -> None:
        super().__init__(
            f"{version}, torch's build for CPUs, is neither in your package index nor in PyTorch's"
            f" own ({PYTORCH_CPU_INDEX}), or that cannot be reached from here"
        )


def install_torch(step: str, venv: Path, constraints: Path) -> None:
    """Install torch before all others, without a GPU the CPU build (750 MB; CUDA's is 5.5 GB).

    It comes from wherever pip looks, else from PyTorch's own index; raises NoCpuBuild where both
    are without.
    """
    listed = entries(constraints.read_text("utf-8"))["torch"]
    # PyTorch names no CPU build for a Mac.
    build = "" if has_gpu() or platform.system() == "Darwin" else "+cpu"
    version = listed.split()[0]
    wanted = venv / "torch.txt"
    wanted.write_text(listed.replace(version, f"{version}{build}", 1))
    try:
        pip(step, venv, *LISTED, str(wanted))
    except SetupError:
        if not build:
            raise
        say(step, f"{version}{build} is not in your package index; asking PyTorch's own")
        try:
            pip(step, venv, *BOUNDED, *LISTED, str(wanted), "--extra-index-url", PYTORCH_CPU_INDEX)
        except SetupError as error:
            if not NOWHERE.search(str(error)):
                raise
            raise NoCpuBuild(f"{version}{build}") from error


def install_torch_of_pypi(step: str, venv: Path, constraints: Path, reason: NoCpuBuild) -> None:
    """Install PyPI's build of the same version: it serves tests and trainer as well."""
    listed = entries(constraints.read_text("utf-8"))["torch"]
    say(
        step,
        f"{reason}. Taking PyPI's {listed.split()[0]}, which is CUDA's build and runs on CPUs, too:"
        " 2.7 GB to fetch, 4.5 GB on disk",
    )
    check_disk(venv, PYPI_BUILD_MB)
    wanted = venv / "torch.txt"
    wanted.write_text(listed)
    pip(step, venv, *LISTED, str(wanted))
