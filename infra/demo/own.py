"""Anyone's file as a story: which labels it uses, what each act gets, and the route it needs."""

from __future__ import annotations

from collections import Counter

from infra.data.losses import DataUnusable
from infra.data.reading import DataFile, Sample
from infra.data.sizes import about
from infra.demo.data import DemoData, split
from infra.demo.division import divide
from infra.demo.made_route import (
    classification_route,
    extraction_route,
    room_for_message,
    spoken,
)
from infra.demo.plan import LEAST_ROWS, plan_act_one
from schemas.route import MINIMUM_ROWS
from shared.privacy import redact


def from_file(data: DataFile, late_labels: list[str], labels: int, seed: int) -> DemoData:
    """Make the demo's data of a file. Raises DataUnusable, which says what to change."""
    samples = distinct_when_redacted(data.samples)
    notes = []
    if alike := len(data.samples) - len(samples):
        notes.append(f"{alike} messages differ from others in personal data alone: left out")
    made = told(data, samples, late_labels, labels, seed)
    room = room_for_message(made.spec_with_late_labels())
    short = [sample for sample in samples if about(sample.text) <= room]
    if long := len(samples) - len(short):
        notes.append(
            f"{long} messages take more than the {room} tokens that are left beside the"
            " base model's prompt: left out"
        )
        made = told(data, short, late_labels, labels, seed)
    made.notes[:0] = notes
    return made


def told(
    data: DataFile, samples: list[Sample], late_labels: list[str], labels: int, seed: int
) -> DemoData:
    """Plan the story on these samples of the file."""
    if len(samples) < LEAST_ROWS:
        raise DataUnusable(
            f"{data.path}: the story needs {LEAST_ROWS} messages and the file has {len(samples)}"
            f" that can be used: add {LEAST_ROWS - len(samples)} rows"
            + (f" (skipped: {data.losses.words()})" if data.losses.total else "")
        )
    if data.task == "classification":
        return classification(samples, late_labels, labels, seed)
    if late_labels:
        raise DataUnusable("--late-labels is for labels, and this file has answers as JSON")
    plan = plan_act_one(
        len(samples), Counter(), "an extraction has no labels that could come later"
    )
    made = split(samples, extraction_route(data, plan), {}, seed)
    made.plan, made.notes = plan, plan.words()
    return made


def classification(
    samples: list[Sample], late_labels: list[str], labels: int, seed: int
) -> DemoData:
    division = divide(Counter(sample.answer for sample in samples), late_labels, labels)
    spec = classification_route(list(division.everyday), list(division.late), division.plan)
    late = {label: spoken(label) for label in division.late}
    made = split(samples, spec, late, seed)
    enough = (
        f"a label is trained on from {spec.minimum_per_label} rows on, where a route asks for"
        f" {MINIMUM_ROWS['classification']} unless it says otherwise"
    )
    made.plan, made.notes = division.plan, [*division.notes, enough]
    return made


def distinct_when_redacted(samples: list[Sample]) -> list[Sample]:
    """Keep one of the messages that differ in personal data alone: reviewers cannot tell them
    apart.
    """
    return list({redact(sample.text): sample for sample in reversed(samples)}.values())[::-1]
