"""vLLM's environment. It is not the services': its torch and transformers are pinned by vLLM, and 2 GB are shared by clones."""

from __future__ import annotations

from pathlib import Path

from infra.setup.machine import check_disk
from infra.setup.places import VLLM_CONSTRAINTS, cache_dir, has_gpu, vllm_venv
from infra.setup.report import say, timed
from infra.setup.venvs import install_torch, make_venv, pip, works
from infra.setup.work import only_one, stamp_says, write_stamp

GPU_VLLM = "vllm==0.32.0"  # the list in constraints-vllm.txt is the CPU build's; CUDA's wheels are pip's to choose
NEEDS_MB = {True: 12_000, False: 2700}  # by has_gpu(); 2,100 MB when done on a CPU, the rest while pip unpacks
READY = "whole"  # the folder's name already holds the hash of what it is made from


def vllm_is_ready() -> bool:
    return works(vllm_venv()) and stamp_says(vllm_venv(), READY)


def make_vllm_venv() -> None:
    if vllm_is_ready():
        return say("vllm", "ready")
    venv = vllm_venv()
    with only_one("vllm", venv):
        if vllm_is_ready():
            return
        check_disk(cache_dir(), NEEDS_MB[has_gpu()])
        with timed("vllm", f"making {venv}"):
            make_venv("vllm", venv)
            install(venv)
            write_stamp(venv, READY)


def install(venv: Path) -> None:
    if has_gpu():
        return pip("vllm", venv, GPU_VLLM)
    install_torch("vllm", venv)
    pip("vllm", venv, "--no-deps", "-r", str(VLLM_CONSTRAINTS))
