"""E-mail addresses, of any script."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.privacy.finds import Find

_EMAIL = re.compile(
    r"(?<![\w.%+-])(?<!\w')[\w.%+-]++(?:'[\w.%+-]++)*+@(?:[\w-]++\.)+(?:xn--[\w-]++|[A-Za-z]{2,}|[^\W\d_]{2,})"
)
# Text without blanks between words: what is not ASCII before an address in ASCII is no part of it.
_ASCII_TAIL = re.compile(r"[A-Za-z0-9.%+_-]+\Z")
# `git@host` is the account of everybody.
_ACCOUNTS = {"git", "hg", "svn"}


def emails_in(plain: str) -> Iterator[Find]:
    """Yield the addresses."""
    end = 0
    while (at := plain.find("@", end)) != -1:
        # No address has a blank: a search from the start of the text takes twice as long.
        match = _EMAIL.search(plain, max(end, plain.rfind(" ", end, at) + 1))
        if match is None:
            return
        start, end = match.span()
        local, _, domain = match[0].partition("@")
        if local.lower() in _ACCOUNTS:
            continue
        tail = _ASCII_TAIL.search(local)
        if (
            tail
            and not local.isascii()
            and domain.isascii()
            and not local[tail.start() - 1].islower()
        ):
            start += tail.start()
        yield Find(start, end, "EMAIL")
