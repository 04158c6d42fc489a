"""On vLLM's own layer: in a batch that mixes adapters with the base model, every row gets its own
adapter or none.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from infra.setup import has_gpu, vllm_python
from infra.vllm import LAUNCHER

# Rows of adapters 7 and 9 (slots 0 and 1) and of the base model (0); how far each row is from x A'
# B'.
CHECK = f"""
import importlib.util, json, torch
from vllm.lora.layers import LoRAMapping
spec = importlib.util.spec_from_file_location("vllm_cpu", {str(LAUNCHER)!r})
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
ours.group_tokens_by_adapter()
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

def errors(ids):
    torch.manual_seed(0)
    wrapper, rows = PunicaWrapperCPU(64, 32, "cpu"), tuple(ids)
    wrapper.update_metadata(LoRAMapping(rows, rows, is_prefill=True), [7, 9], 2, 100)
    a, b = torch.randn(2, 1, 16, 32), torch.randn(2, 1, 24, 16)
    x, y = torch.randn(len(ids), 32), torch.zeros(len(ids), 24)
    wrapper.add_lora_linear(y, x, (a,), (b,), 1.0, (24,))
    slots = [{{7: 0, 9: 1}}.get(i) for i in ids]
    want = torch.stack([
        torch.zeros(24) if s is None else x[i] @ a[s, 0].T @ b[s, 0].T
        for i, s in enumerate(slots)
    ])
    return (y - want).abs().max().item()

print(json.dumps([errors(ids) for ids in ([0, 0], [7, 9], [9, 9, 0], [0, 7, 0, 9, 7])]))
"""


@pytest.mark.vllm
@pytest.mark.skipif(
    has_gpu() or not vllm_python().exists(), reason="needs the CPU build of vLLM: make setup"
)
def test_no_row_of_a_mixed_batch_gets_another_rows_adapter() -> None:
    done = subprocess.run(
        [str(vllm_python()), "-c", CHECK], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert max(json.loads(done.stdout.splitlines()[-1])) < 1e-4
