"""Many short rows as one sequence that computes their common beginning once.

All prompts of a route begin with the same system prompt. A batch is laid out as prefix, rest of row
1, rest of row 2, ...; a token sees the prefix and its own row, and keeps the position it has in its
row: the loss and the gradients are those of separate rows, without padding and without computing
the prefix again. Plain numbers here; `batches.py` makes tensors of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.trainer.rendering import IGNORED, LabelledRow


@dataclass
class Layout:
    """Token by token, what a batch is made of."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    # Which row a token belongs to, from 1 on; 0 is the prefix.
    segments: list[int] = field(default_factory=list)

    def add(self, ids: Sequence[int], labels: Sequence[int], start: int, segment: int) -> None:
        self.input_ids += ids
        self.labels += labels
        self.positions += range(start, start + len(ids))
        self.segments += [segment] * len(ids)


def common_prefix(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all prompts share.

    Each keeps at least one of its own, so that its row begins outside the loss.
    """
    # What the extremes share, all share.
    first = min(prompts)
    last = max(prompts)
    longest = min(len(prompt) for prompt in prompts) - 1
    return next((at for at in range(longest) if first[at] != last[at]), max(longest, 0))


def lay_out(rows: Sequence[LabelledRow], prefix: int) -> Layout:
    """Lay rows out one after the other, behind their first `prefix` tokens."""
    layout = Layout()
    layout.add(rows[0]["input_ids"][:prefix], [IGNORED] * prefix, 0, 0)
    for segment, row in enumerate(rows, start=1):
        layout.add(row["input_ids"][prefix:], row["labels"][prefix:], prefix, segment)
    return layout
