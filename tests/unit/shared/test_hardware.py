"""In which precision this machine computes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from shared.hardware import multiplies_bf16

X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma {}\nbugs\t\t: none\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("told", "multiplies"),
    [
        (X86.format(""), False),
        (X86.format("avx512f avx512dq avx512bw avx512vl"), True),
        (X86.format("avx512f avx512dq avx512bw avx512vl avx512_bf16 amx_bf16"), True),
        (ARM.format("sve"), False),
        (ARM.format("sve bf16"), True),
        ("processor\t: 0\n", True),
    ],
)
def test_the_flags_of_the_processor_tell(told: str, multiplies: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(told)
    assert multiplies_bf16(cpuinfo) is multiplies


def test_where_nothing_is_told_it_does(tmp_path: Path) -> None:
    assert multiplies_bf16(tmp_path / "none")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo")
def test_pytorch_says_the_same_of_this_machine() -> None:
    assert multiplies_bf16() == torch.ops.mkldnn._is_mkldnn_bf16_supported()
