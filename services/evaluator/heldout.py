"""The rows an adapter is judged on, and what each arm said to them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from schemas.answers import normalise, well_formed
from schemas.base import Arm, Message
from schemas.route import RouteSpec
from services.evaluator.ports import Reply

SPLITS = ("audit", "test")  # neither is ever trained on


@dataclass(frozen=True)
class HeldOutRow:
    row_id: str
    split: str
    messages: tuple[Message, ...]
    answer: str

    @property
    def text(self) -> str:
        """What the user wrote last, for people to read."""
        return next(
            (message.content for message in reversed(self.messages) if message.role == "user"), ""
        )


@dataclass(frozen=True)
class Contender:
    """An arm under test: what vLLM calls it, and which of the route's prompts it gets."""

    arm: Arm
    adapter_id: str | None = None

    @property
    def model(self) -> str:
        return self.adapter_id or "base"

    def prompt(self, spec: RouteSpec, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """An adapter is asked as it was trained; the base model gets the best prompt there is."""
        return (
            spec.tuned_messages(messages) if self.adapter_id else spec.detailed_messages(messages)
        )

    def choices(self, spec: RouteSpec) -> tuple[str, ...]:
        return () if self.adapter_id else spec.base_choices


@dataclass(frozen=True)
class Answered:
    """A contender with its replies, one per row, and how they compare with what reviewers said."""

    contender: Contender
    replies: tuple[Reply, ...]
    answers: tuple[str, ...]
    correct: tuple[bool, ...]
    formatted: tuple[bool, ...]


def read_held_out(folder: Path) -> list[HeldOutRow]:
    """Audit and test rows of a dataset folder; the audit split may be empty or missing."""
    columns = ["row_id", "messages", "answer"]
    return [
        HeldOutRow(
            str(row["row_id"]),
            split,
            tuple(Message(**turn) for turn in json.loads(row["messages"])),
            row["answer"],
        )
        for split in SPLITS
        if (folder / f"{split}.parquet").exists()
        for row in pq.read_table(folder / f"{split}.parquet", columns=columns).to_pylist()
    ]


def mark(
    contender: Contender, rows: list[HeldOutRow], replies: list[Reply], spec: RouteSpec
) -> Answered:
    """Normalise the replies and compare them with the reviewers' answers."""
    answers = tuple(normalise(reply.answer, spec) for reply in replies)
    correct = tuple(
        answer == normalise(row.answer, spec) for answer, row in zip(answers, rows, strict=True)
    )
    return Answered(
        contender,
        tuple(replies),
        answers,
        correct,
        tuple(well_formed(reply.answer, spec) for reply in replies),
    )
