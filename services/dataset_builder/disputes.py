"""Which verdicts reviewers are asked for once more: those on whose question no majority agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.route import RouteSpec
from services.dataset_builder.prepare import usable
from services.dataset_builder.rows import Candidate, Lost
from services.dataset_builder.votes import AMBIGUOUS, grouped, heard

# Of what reviewers said, as much as a page shows of it.
SHOWN_ANSWERS = 5
SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Dispute:
    """A verdict, and what was said of its question, the most frequent first."""

    review_id: str
    inference_id: str
    said: Mapping[str, int]


def disputes(lost: Sequence[Lost], spec: RouteSpec) -> list[Dispute]:
    """Return the verdicts that decide each unsettled question, the most even questions first."""
    ambiguous = usable((one.row for one in lost if one.reason == AMBIGUOUS), spec).candidates
    groups = [heard(same) for same in grouped(ambiguous, lambda one: one.question.key).values()]
    return [
        Dispute(one.row.review_id, one.row.inference_id, said_in(same))
        for same in sorted(groups, key=evenness)
        for one in same
    ]


def evenness(same: Sequence[Candidate]) -> tuple[float, int, bytes]:
    """Return the share of the most frequent answer, then what tells ties apart."""
    [(_, votes)] = Counter(one.form for one in same).most_common(1)
    return votes / len(same), -len(same), same[0].question.key


def said_in(same: Sequence[Candidate]) -> dict[str, int]:
    counts = Counter(shortened(one.answer) for one in same)
    return dict(sorted(counts.items(), key=lambda said: (-said[1], said[0]))[:SHOWN_ANSWERS])


def shortened(answer: str) -> str:
    line = " ".join(answer.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"
