"""What is trained on. Three questions, each with a measure of its own: what was audited (the same
verdict again), what contradicts (the same question, another answer), what repeats (both the same).
Whatever is left out is listed, with the reason.

Audit rows stay as they are: they are a uniform sample of the traffic, repetitions included.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from schemas.route import RouteSpec
from services.dataset_builder import near
from services.dataset_builder.balance import balanced
from services.dataset_builder.prepare import usable
from services.dataset_builder.rows import Candidate, DatasetRow, Lost
from services.dataset_builder.votes import agreed

# Jaccard similarity of what two texts do not share with many others, from which they are never
# parted by chance. Without common shingles .5 is about what .6 is with them.
ALIKE = 0.5
# An app that asks again, and a client that sends again under another id, do so within this time.
AGAIN_US = 3600 * 1_000_000
AUDITED = "audited"


@dataclass(frozen=True)
class Curated:
    """What is left of the verdicts, oldest first."""

    # To be split; repeats are one row each, with their number.
    training: list[Candidate]
    # Only evaluated on.
    audit: list[Candidate]
    # Every other row.
    lost: list[Lost]


def curate(rows: Iterable[DatasetRow], spec: RouteSpec) -> Curated:
    found = usable(rows, spec)
    audit = [one for one in found.candidates if one.row.audit] + found.unanswerable
    audit.sort(key=lambda one: one.row.order)
    apart, watched = without_audited(found.candidates, audit)
    settled, unsettled = agreed(apart, spec)
    training, capped = balanced(without_repeats(settled), spec.retrain.balance)
    numbered = clustered(training + audit)
    return Curated(
        training=numbered[: len(training)],
        audit=numbered[len(training) :],
        lost=found.lost + watched + unsettled + capped,
    )


def without_audited(
    candidates: Sequence[Candidate], audit: Sequence[Candidate]
) -> tuple[list[Candidate], list[Lost]]:
    """Leave out the audited verdicts themselves: another verdict on the same inference, and the
    same content again in its session, also as the beginning of a longer conversation.

    The same question from somebody else stays: frequent questions are to be learned.
    """
    inferences = {one.row.inference_id: one.row.review_id for one in audit}
    heard: dict[bytes, list[DatasetRow]] = defaultdict(list)
    for one in audit:
        heard[one.question.key].append(one.row)
    for rows in heard.values():
        rows.sort(key=moment)
    kept = []
    lost = []
    for one in candidates:
        if one.row.audit:
            continue
        twin = inferences.get(one.row.inference_id) or heard_again(one, heard)
        if twin:
            lost.append(Lost(one.row, AUDITED, twin))
        else:
            kept.append(one)
    return kept, lost


def heard_again(one: Candidate, heard: dict[bytes, list[DatasetRow]]) -> str | None:
    """Return the audited review of the same content in the same session.

    Where either came without a session, an hour before or after is taken for the same one.
    """
    asked = moment(one.row)
    session = one.row.session
    for key in (one.question.key, *one.question.earlier):
        rows = heard.get(key, [])
        if session:
            for row in rows:
                if row.session == session:
                    return row.review_id
        for row in rows[bisect_left(rows, asked - AGAIN_US, key=moment) :]:
            if moment(row) > asked + AGAIN_US:
                break
            if not (session and row.session):
                return row.review_id
    return None


def moment(row: DatasetRow) -> int:
    """Return when a question was asked; when it was reviewed, where older releases kept no more."""
    return row.reviewed_us if row.asked_us is None else row.asked_us


def without_repeats(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Make one row of equal questions with equal answers: the newest, with their number."""
    groups: dict[tuple[bytes, str], list[int]] = {}
    for place, one in enumerate(candidates):
        groups.setdefault((one.question.key, one.form), []).append(place)
    newest = {places[-1]: len(places) for places in groups.values()}
    return [
        replace(one, count=newest[place]) if newest[place] > 1 else one
        for place, one in enumerate(candidates)
        if place in newest
    ]


def clustered(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Number the clusters of training and audit rows together.

    A number comes from the oldest member's content, so it outlives rows that join later, and with
    it the split.
    """
    oldest: dict[bytes, Candidate] = {}
    for one in sorted(candidates, key=lambda one: one.row.order):
        oldest.setdefault(one.question.key, one)
    keys = list(oldest)
    found = near.clusters([one.question.text for one in oldest.values()], ALIKE)
    numbers = {key: _number(keys[first]) for key, first in zip(keys, found, strict=True)}
    return [replace(one, cluster=numbers[one.question.key]) for one in candidates]


def _number(key: bytes) -> int:
    """Return a number that fits a signed 64-bit column."""
    return int.from_bytes(key[:8], "big") >> 1
