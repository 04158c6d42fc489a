"""What of a file could not be used, and why: nothing is left out without a count."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.errors import Invalid

# Lines named for each reason.
NAMED = 5


class DataUnusable(Invalid):
    """A file that cannot be used; the message says what to change."""


@dataclass
class Losses:
    """The lines that were skipped, by reason, in the order of the file."""

    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, line: int) -> None:
        self.lines.setdefault(reason, []).append(line)

    def counts(self) -> dict[str, int]:
        """Return how many rows each reason took, the largest first."""
        return dict(
            sorted(
                ((reason, len(lines)) for reason, lines in self.lines.items()),
                key=lambda item: -item[1],
            )
        )

    @property
    def total(self) -> int:
        return sum(map(len, self.lines.values()))

    def sentences(self) -> list[str]:
        """Return a line for each reason, with the first lines of the file that it took."""
        return [
            f"{count} {reason} ({_named(self.lines[reason])})"
            for reason, count in self.counts().items()
        ]

    def words(self) -> str:
        """Return all reasons in one sentence."""
        return ", ".join(self.sentences()) or "nothing"


def _named(lines: list[int]) -> str:
    shown = ", ".join(map(str, sorted(lines)[:NAMED]))
    more = f" and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"
