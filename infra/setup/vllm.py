"""Makes vLLM's environment, which clones share: vLLM pins its own torch and transformers."""

from __future__ import annotations

from pathlib import Path

from infra.setup.machine import SetupError, check_disk
from infra.setup.places import ROOT, VLLM_CONSTRAINTS, cache_dir, has_gpu, vllm_python, vllm_venv
from infra.setup.report import timed
from infra.setup.venvs import (
    PYTORCH_CPU_INDEX,
    install_rest,
    install_torch,
    make_venv,
    pip,
    works,
)
from infra.setup.work import once, run, stamp_says, write_stamp

# The list in constraints-vllm.txt is the CPU build's; CUDA's wheels are pip's to choose
GPU_VLLM = "vllm==0.32.0"
# By has_gpu(); 2,100 MB when done on a CPU, the rest while pip unpacks
NEEDS_MB = {
    True: 12_000,
    False: 2700,
}
# The folder's name already holds the hash of what it is made from.
READY = "whole"


def vllm_is_ready() -> bool:
    return works(vllm_venv()) and stamp_says(vllm_venv(), READY)


def make_vllm_venv() -> None:
    try:
        once("vllm", vllm_venv(), vllm_is_ready, make)
    except SetupError as error:
        raise NoVllm(error) from error


def make() -> None:
    venv = vllm_venv()
    check_disk(cache_dir(), NEEDS_MB[has_gpu()])
    with timed("vllm", f"making {venv}"):
        make_venv("vllm", venv)
        install_for_gpu(venv) if has_gpu() else install_for_cpu(venv)
        write_stamp(venv, READY)


def install_for_gpu(venv: Path) -> None:
    pip("vllm", venv, GPU_VLLM)


class NoVllm(SetupError):
    """Nothing but vLLM is missing: the rest of the set-up is of use without it."""

    def __init__(self, reason: SetupError) -> None:
        super().__init__(
            f"vLLM cannot be set up here: {reason}\nWhat to do, one of: name a mirror of PyTorch's"
            f" index (export PIP_EXTRA_INDEX_URL=https://...; the original is {PYTORCH_CPU_INDEX});"
            " or put the file torch-...+cpu-....whl into a folder (export PIP_FIND_LINKS=FOLDER),"
            " and run 'make setup' again; or use an engine elsewhere (ratchet up --engine URL)"
        )


def install_for_cpu(venv: Path) -> None:
    # PyPI's build of torch would not do: its kernels are for GPUs, and so is its size.
    install_torch("vllm", venv, VLLM_CONSTRAINTS)
    install_rest("vllm", venv, [VLLM_CONSTRAINTS])
    # Proves that it works, and compiles the 4,000 files that the first start would (the install
    # leaves that out).
    start = [str(vllm_python()), "-P", str(ROOT / "infra" / "vllm_cpu.py"), "--help"]
    run("vllm", start, next_step=f"rm -r {venv}, make setup")
