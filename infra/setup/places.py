"""Where the set-up puts things; what clones share (vLLM, the model) is in the user's cache."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
CUDA_CONSTRAINTS = ROOT / "constraints-cuda.txt"
VLLM_CONSTRAINTS = ROOT / "constraints-vllm.txt"
KAFKA_CONSTRAINTS = ROOT / "constraints-kafka.txt"
MODEL = "SmolLM2-135M-Instruct"


def cache_dir() -> Path:
    return Path(os.environ.get("RATCHET_CACHE") or "~/.cache/ratchet").expanduser()


def base_model_dir() -> Path:
    return cache_dir() / "models" / MODEL


def services_venv() -> Path:
    return ROOT / ".venv"


def vllm_venv() -> Path:
    """Name the folder after all it depends on, so that a changed pin makes a new one."""
    flavour = (
        f"{'gpu' if has_gpu() else 'cpu'} {sys.version_info.major}.{sys.version_info.minor}"
        f" {VLLM_CONSTRAINTS.read_text()}"
    )
    return cache_dir() / f"vllm-{hashlib.sha256(flavour.encode()).hexdigest()[:12]}"


def vllm_python() -> Path:
    return vllm_venv() / "bin" / "python"


@functools.cache
def has_gpu() -> bool:
    """Ask nvidia-smi, by its exit status: it fails where the driver does."""
    if not (found := shutil.which("nvidia-smi")):
        return False
    return subprocess.run([found, "-L"], capture_output=True, timeout=60).returncode == 0
