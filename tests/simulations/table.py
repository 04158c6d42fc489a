"""The table of docs/guarantees.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulations.promise import Measured, Promise

HEAD = """# What is guaranteed, and what was measured of it

Each promise of the docs that has a number, tried on simulated truth by the product's own functions:
`make simulate` writes this page. A figure is the share of the runs in which what is counted
happened, with its exact 95 % interval. A promise stands while the interval reaches its level; the
control is the rule that is not used, which must be seen to break it.

What is assumed, and what each method does: [methods](methods.md).

![each promise, what was measured of it and of the rule that is not used](guarantees.svg)

| promise | world | measured | instead | measured then |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Tried:
    """What the long form measured of a promise, and of the rule that is not used."""

    promise: Promise
    measured: Sequence[Measured]
    control: Sequence[Measured]

    @property
    def is_borne_out(self) -> bool:
        return all(map(self.promise.holds, self.measured)) and all(
            map(self.promise.breaks, self.control)
        )


def written(tried: Sequence[Tried]) -> str:
    return HEAD + "".join(line for one in tried for line in lines(one))


def lines(tried: Tried) -> list[str]:
    """Return a line for each world, the first with the promise itself."""
    count = max(len(tried.measured), len(tried.control))
    said = [tried.promise.statement, *[""] * count]
    instead = [tried.promise.instead, *[""] * count]
    return [
        f"| {said[i]} | {world(tried.measured, i)} | {figure(tried.measured, i)}"
        f" | {instead[i]}{of_world(tried.control, i)} | {figure(tried.control, i)} |\n"
        for i in range(count)
    ]


def world(found: Sequence[Measured], i: int) -> str:
    return found[i].world if i < len(found) else ""


def of_world(found: Sequence[Measured], i: int) -> str:
    return f" ({found[i].world})" if i < len(found) else ""


def figure(found: Sequence[Measured], i: int) -> str:
    if i >= len(found):
        return ""
    low, high = found[i].interval
    return f"{found[i].rate:.1%} of {found[i].runs} ({low:.1%} to {high:.1%})"
