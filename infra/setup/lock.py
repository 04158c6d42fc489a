"""The lock lists: every package with its version and the hashes of its files.

    python -m infra.setup.lock write            constraints.txt from what .venv holds (make lock)
    python -m infra.setup.lock rehash           the hashes of the versions in all lists anew
    python -m infra.setup.lock subset review    the part of constraints.txt that one service needs

pip then checks each file it installs (--require-hashes). torch has the hashes of both builds: the
CUDA build is on PyPI, the CPU build comes from wherever pip finds it on the machine that locks.
What only the CUDA build needs (4 GB) is in constraints-cuda.txt.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.setup.machine import SetupError
from infra.setup.places import (
    CONSTRAINTS,
    CUDA_CONSTRAINTS,
    KAFKA_CONSTRAINTS,
    ROOT,
    VLLM_CONSTRAINTS,
)

BUILD_PACKAGES = ("editables", "hatchling")  # to install the project itself without the network
TORCH = re.compile(r"^torch==\S+", re.MULTILINE)


def entries(text: str) -> dict[str, str]:
    """Split a lock list into its packages: canonical name to the lines about it."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if pinned := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = canonical(pinned[1])
            found[name] = []
        if name and not line.startswith("#"):
            found[name].append(line)
    return {package: "\n".join(lines) for package, lines in found.items()}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.setup.lock", description=__doc__)
    parser.add_argument("step", choices=["write", "rehash", "subset"])
    parser.add_argument("extras", nargs="*", help="subset: extras of pyproject.toml")
    chosen = parser.parse_args(arguments)
    if chosen.step == "subset":
        print("\n".join(subset(chosen.extras)))
        return 0
    if chosen.step == "write":
        relock(CONSTRAINTS, installed())
        lock_cuda()
    else:
        relock(CONSTRAINTS, pins(CONSTRAINTS))
        relock(VLLM_CONSTRAINTS, pins(VLLM_CONSTRAINTS))
        relock(KAFKA_CONSTRAINTS, pins(KAFKA_CONSTRAINTS))
    return 0


def installed() -> list[str]:
    """List what .venv holds, without the builds of torch and the project itself."""
    freeze = [sys.executable, "-m", "pip", "freeze", "--all", "--exclude-editable"]
    lines = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.removesuffix("+cpu") for line in lines if re.match(r"(?!pip==)\S+==", line)]


def pins(path: Path) -> list[str]:
    """List the versions of a lock list, with their markers, without their hashes."""
    listed = entries(path.read_text("utf-8")).values()
    return [entry.splitlines()[0].removesuffix("\\").strip() for entry in listed]


def relock(path: Path, wanted: list[str]) -> None:
    """Write the list of `wanted` versions with their hashes below the comment it begins with."""
    head = [line for line in path.read_text("utf-8").splitlines() if line.startswith("#")]
    listed = compiled(wanted, "--no-deps", "--generate-hashes")
    for torch in TORCH.findall(listed):
        listed = listed.replace(torch, f"{torch} \\\n    --hash={hash_of(torch)}", 1)
    path.write_text("\n".join([*head, listed]), "utf-8")


def compiled(wanted: list[str], *options: str) -> str:
    """Let uv resolve `wanted`; it reads hashes from the index without a download."""
    quiet = ["--quiet", "--no-header", "--no-annotate", "--python-version", "3.11"]
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(wanted))
        file.flush()
        command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", *quiet, *options]
        done = subprocess.run([*command, file.name], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SetupError(f"uv could not resolve the list: {done.stderr.strip()}")
    return done.stdout


def lock_cuda() -> None:
    """Write what torch's CUDA build needs beyond the list of all."""
    known = entries(CONSTRAINTS.read_text("utf-8"))
    torch = known["torch"].split()[0]
    needed = entries(compiled([torch]))
    relock(CUDA_CONSTRAINTS, [pin for name, pin in needed.items() if name not in known])


def hash_of(requirement: str) -> str:
    """Ask pip which file it would install here, and return its hash as `sha256:...`."""
    ask = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    report = subprocess.run(
        [*ask, "--no-deps", "--report", "-", requirement],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    [found] = json.loads(report)["install"]
    return f"sha256:{found['download_info']['archive_info']['hashes']['sha256']}"


def subset(extras: list[str]) -> list[str]:
    """Return the part of constraints.txt that the project needs with these extras."""
    known = entries(CUDA_CONSTRAINTS.read_text("utf-8"))
    known |= entries(CONSTRAINTS.read_text("utf-8"))
    asked = f"ratchet[{','.join(extras)}] @ {ROOT.as_uri()}"
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins(CONSTRAINTS)))
        file.flush()
        needed = entries(compiled([asked, *BUILD_PACKAGES], "--constraint", file.name))
    return [known[name] for name in needed if name != "ratchet"]


if __name__ == "__main__":
    sys.exit(main())
