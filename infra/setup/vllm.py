"""Makes vLLM's environment, which clones share: vLLM pins its own torch and transformers."""

from __future__ import annotations

from pathlib import Path

from infra.setup.machine import check_disk
from infra.setup.places import ROOT, VLLM_CONSTRAINTS, cache_dir, has_gpu, vllm_python, vllm_venv
from infra.setup.report import timed
from infra.setup.venvs import install_listed, make_venv, pip, works
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
    once("vllm", vllm_venv(), vllm_is_ready, make)


def make() -> None:
    venv = vllm_venv()
    check_disk(cache_dir(), NEEDS_MB[has_gpu()])
    with timed("vllm", f"making {venv}"):
        make_venv("vllm", venv)
        install_for_gpu(venv) if has_gpu() else install_for_cpu(venv)
        write_stamp(venv, READY)


def install_for_gpu(venv: Path) -> None:
    pip("vllm", venv, GPU_VLLM)


def install_for_cpu(venv: Path) -> None:
    install_listed("vllm", venv, VLLM_CONSTRAINTS)
    # Proves that it works, and compiles the 4,000 files that the first start would (the install
    # leaves that out).
    start = [str(vllm_python()), "-P", str(ROOT / "infra" / "vllm_cpu.py"), "--help"]
    run("vllm", start, next_step=f"rm -r {venv}, make setup")
