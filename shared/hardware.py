"""What the processor of this machine computes by itself."""

from __future__ import annotations

import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)
# Without these PyTorch multiplies bf16 one number after the other (its
# aten/src/ATen/native/mkldnn/Utils.h): a product of 300 x 576 x 1536 takes 36 ms, in fp32 7.
_ENOUGH = ({"avx512vl", "avx512bw", "avx512dq"}, {"bf16"})


def multiplies_bf16(cpuinfo: Path = CPUINFO) -> bool:
    """Say whether this processor multiplies matrices in bf16 at least as fast as in fp32; yes where
    the system does not tell.
    """
    try:
        flags = _FLAGS.search(cpuinfo.read_text())
    except OSError:
        return True
    return flags is None or any(some <= set(flags[1].split()) for some in _ENOUGH)
