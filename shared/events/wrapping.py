"""Puts our code around a method of a library that offers no seam there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def wrap_once(
    owner: type, method: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """`around(original)` takes the method's place, once per process however often it is asked
    for.
    """
    original = getattr(owner, method)
    if not hasattr(original, "__wrapped__"):
        setattr(owner, method, functools.wraps(original)(around(original)))
