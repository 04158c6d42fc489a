"""What the set-up prints: a line when a piece of work begins, and one with its seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(step: str, text: str) -> None:
    print(f"setup {step:<8} {text}", flush=True)


@contextmanager
def timed(step: str, text: str) -> Iterator[None]:
    say(step, f"{text} ...")
    began = time.monotonic()
    yield
    say(step, f"{text}: {time.monotonic() - began:.0f} s")
