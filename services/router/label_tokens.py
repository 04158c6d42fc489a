"""Whether a route's labels fit its `max_tokens`, by the tokenizer of the model that serves.

The router has none of its own: the engine is asked. The token that ends an answer counts: without
room for it an answer is whole by luck alone, and the engine calls it cut (finish_reason `length`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from schemas.route import RouteSpec
from services.router.upstream import Upstream
from shared.errors import Invalid, RatchetError

# Seconds for all labels of a route.
PATIENCE = 5.0
# Questions to the engine at once.
AT_ONCE = 4
# Routes whose labels are remembered.
REMEMBERED = 1000
# Labels that are named when they are cut.
NAMED = 5
# What ends an answer.
END = 1


class LabelsTooLong(Invalid):
    """The engine would cut some labels."""

    def __init__(self, tokens: dict[str, int], max_tokens: int) -> None:
        """Make the error: `tokens` are those of each label that is cut."""
        longest = sorted(tokens, key=lambda label: -tokens[label])
        named = ", ".join(f"'{label}' ({tokens[label]} tokens)" for label in longest[:NAMED])
        more = f" and {len(longest) - NAMED} more" if len(longest) > NAMED else ""
        super().__init__(
            f"max_tokens is {max_tokens}, which cuts the labels {named}{more}: one more token ends"
            f" each answer; set max_tokens to at least {tokens[longest[0]] + END}, or shorten them"
        )


@dataclass
class LabelTokens:
    """Counts the tokens of labels, and remembers the counts."""

    upstream: Upstream
    base_model: str
    _known: dict[tuple[str, ...], dict[str, int]] = field(default_factory=dict)

    async def check(self, spec: RouteSpec) -> str | None:
        """Return a warning where nobody could count the tokens. Raises LabelsTooLong."""
        if spec.task != "classification":
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                tokens = await self._count(spec.labels)
        except (RatchetError, TimeoutError) as error:
            return uncounted(spec, type(error).__name__)
        room = spec.max_tokens - END
        if cut := {label: tokens[label] for label in spec.labels if tokens[label] > room}:
            raise LabelsTooLong(cut, spec.max_tokens)
        return None

    async def _count(self, labels: tuple[str, ...]) -> dict[str, int]:
        if labels not in self._known:
            gate = asyncio.Semaphore(AT_ONCE)

            async def count(label: str) -> int:
                async with gate:
                    return await self.upstream.count_tokens(self.base_model, label)

            counts = await asyncio.gather(*(count(label) for label in labels))
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[labels] = dict(zip(labels, counts, strict=True))
        return self._known[labels]


def uncounted(spec: RouteSpec, why: str) -> str:
    return (
        "the model server did not say how many tokens the labels take"
        f" ({why}): with their end, those of more than max_tokens ({spec.max_tokens}) would be"
        f" cut; look again with `ratchet routes show {spec.name}` when it serves. Each training"
        " checks it, too"
    )
