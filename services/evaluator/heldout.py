"""The rows an adapter is judged on, and what each arm said to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from schemas.answers import normalise, well_formed
from schemas.base import Arm, JsonObject, Message
from schemas.route import RouteSpec
from shared.rules import Completion

# Only audited rows decide: they are a uniform sample of the traffic. Others are reported.
DECIDING = "audit"
# Neither is ever trained on.
SPLITS = (DECIDING, "test")


@dataclass(frozen=True)
class HeldOutRow:
    row_id: str
    split: str
    messages: tuple[Message, ...]
    answer: str
    # Whether no right answer can be given: then each one is wrong.
    is_rejected: bool = False
    # repeated: its question is also trained on; first_seen: it is not; held_out: kept out by hash.
    stratum: str = "unknown"
    # Values by key, of the metadata that the route's slices name.
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return what the user wrote last, for people to read."""
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
        """Ask an adapter as it was trained, and the base model with the best prompt there is."""
        return (
            spec.tuned_messages(messages) if self.adapter_id else spec.detailed_messages(messages)
        )


@dataclass(frozen=True)
class MarkedReply:
    """A reply compared with what the reviewer said."""

    reply: Completion
    # Normalised, as it is compared.
    answer: str
    correct: bool
    formatted: bool


@dataclass(frozen=True)
class ArmAnswers:
    """A contender with one reply per held-out row, in the order of the rows."""

    contender: Contender
    replies: tuple[MarkedReply, ...]

    def at(self, places: Sequence[int]) -> ArmAnswers:
        """Return the replies to some of the rows."""
        return ArmAnswers(self.contender, tuple(self.replies[i] for i in places))


def read_held_out(folder: Path) -> list[HeldOutRow]:
    """Read the audit and test rows of a dataset folder; a split may be empty or missing."""
    return [
        HeldOutRow(
            row_id=str(row["row_id"]),
            split=split,
            messages=tuple(Message(**turn) for turn in json.loads(row["messages"])),
            answer=row["answer"],
            is_rejected=row.get("label_source") == "rejected",
            stratum=stratum_of(split, row),
            # Datasets from before there were slices have no such column.
            slices=json.loads(row.get("slices") or "{}"),
        )
        for split in SPLITS
        if (folder / f"{split}.parquet").exists()
        for row in pq.read_table(folder / f"{split}.parquet").to_pylist()
    ]


def stratum_of(split: str, row: JsonObject) -> str:
    """Return a row's stratum; datasets of release 0.1 tell it of none."""
    if "stratum" not in row:
        return "unknown"
    return "held_out" if split == "test" else str(row["stratum"])


def deciding(
    rows: Sequence[HeldOutRow], answered: Sequence[ArmAnswers]
) -> tuple[list[HeldOutRow], list[ArmAnswers]]:
    """Return the rows that decide, with what each arm said to them."""
    places = [i for i, row in enumerate(rows) if row.split == DECIDING]
    return [rows[i] for i in places], [arm.at(places) for arm in answered]


def mark(
    contender: Contender, rows: Sequence[HeldOutRow], replies: Sequence[Completion], spec: RouteSpec
) -> ArmAnswers:
    """Normalise the replies and compare them with the reviewers' answers."""
    return ArmAnswers(
        contender,
        tuple(_mark(row, reply, spec) for row, reply in zip(rows, replies, strict=True)),
    )


def _mark(row: HeldOutRow, reply: Completion, spec: RouteSpec) -> MarkedReply:
    answer = normalise(reply.answer, spec)
    formatted = well_formed(reply.answer, spec)
    return MarkedReply(
        reply=reply,
        answer=answer,
        # What breaks the format is wrong, also where a row was reviewed under another format.
        correct=formatted and not row.is_rejected and answer == normalise(row.answer, spec),
        formatted=formatted,
    )
