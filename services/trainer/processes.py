"""Which of the processes of a training this is. Runs in the training process."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Say whether this is the only process, or the first of those that accelerate launched."""
    return os.environ.get("RANK", "0") == "0"
