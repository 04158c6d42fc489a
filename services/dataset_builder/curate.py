"""What is trained on: near duplicates, contradictions and whatever resembles an audit row are left
out, with a count each.

Audit rows stay as they are: they are a uniform sample of the traffic, repetitions included.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

from schemas.route import RouteSpec
from services.dataset_builder.near import similar_pairs
from services.dataset_builder.prepare import usable
from services.dataset_builder.rows import Candidate, DatasetRow

# Exact Jaccard similarity of the shingles: the same question again.
DUPLICATE = 0.8
# Close enough to give the answer away: never on both sides of a split.
LEAK = 0.6
# Share of the verdicts that settles a contradiction.
MAJORITY = 2 / 3


@dataclass(frozen=True)
class Curated:
    """What is left of the verdicts, oldest first."""

    # To be split.
    training: list[Candidate]
    # Only evaluated on.
    audit: list[Candidate]
    # How many rows were left out, by reason.
    dropped: Counter[str]
    # What is odd about the rows that were kept, with a count each.
    noticed: Counter[str]


def curate(rows: Iterable[DatasetRow], spec: RouteSpec) -> Curated:
    found = usable(rows, spec)
    dropped = found.dropped
    candidates = clustered(found.candidates)
    audit = [candidate for candidate in candidates if candidate.row.audit]
    apart = without_leaks(candidates, audit, dropped)
    agreed = without_contradictions(apart, spec, dropped)
    return Curated(without_duplicates(agreed, dropped), audit, dropped, found.noticed)


def clustered(candidates: list[Candidate]) -> list[Candidate]:
    """Number the clusters (never parted) and the twins (duplicates) over training and audit rows
    together.

    A number comes from the oldest member's content, so it outlives rows that join later, and with
    it the split.
    """
    distinct = {candidate.key: candidate.text for candidate in reversed(candidates)}
    # Oldest first.
    keys = list(distinct)[::-1]
    texts = list(distinct.values())[::-1]
    pairs = similar_pairs(texts, LEAK)
    clusters = components(len(keys), pairs)
    twins = components(len(keys), (pair for pair, overlap in pairs.items() if overlap >= DUPLICATE))
    place = {key: index for index, key in enumerate(keys)}
    return [
        replace(
            candidate,
            cluster=_number(keys[clusters[place[candidate.key]]]),
            twins=_number(keys[twins[place[candidate.key]]]),
        )
        for candidate in candidates
    ]


def components(size: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return for each index the smallest index it is connected with, by union-find."""
    parent = list(range(size))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(index) for index in range(size)]


def _number(key: bytes) -> int:
    """Return a number that fits a signed 64-bit column."""
    return int.from_bytes(key[:8], "big") >> 1


def without_leaks(
    candidates: list[Candidate], audit: list[Candidate], dropped: Counter[str]
) -> list[Candidate]:
    """Drop what resembles an audit row: training gives way to evaluation, never the reverse."""
    watched = {candidate.cluster for candidate in audit}
    trainable = [candidate for candidate in candidates if not candidate.row.audit]
    kept = [candidate for candidate in trainable if candidate.cluster not in watched]
    dropped["near_audit"] += len(trainable) - len(kept)
    return kept


def without_contradictions(
    candidates: list[Candidate], spec: RouteSpec, dropped: Counter[str]
) -> list[Candidate]:
    """Keep the agreed answer to equal questions with different answers; without agreement none.

    Other tasks than classification contradict only in exact duplicates: a changed amount changes
    the right extraction.
    """
    unit: Callable[[Candidate], Hashable] = (
        (lambda candidate: candidate.twins)
        if spec.task == "classification"
        else (lambda candidate: candidate.key)
    )
    asked = grouped(candidates, unit)
    answers = {key: agreed_answer(group) for key, group in asked.items()}
    kept = []
    for candidate in candidates:
        answer = answers[unit(candidate)]
        if candidate.form == answer:
            kept.append(candidate)
        else:
            dropped["ambiguous" if answer is None else "contradicted"] += 1
    return kept


def agreed_answer(group: list[Candidate]) -> str | None:
    """Return the answer of two thirds of the verdicts; else the newest, when it corrects what
    reviewers before it had only approved; else None.
    """
    (form, votes), *others = Counter(candidate.form for candidate in group).most_common()
    if not others or votes >= MAJORITY * len(group):
        return form
    newest = max(group, key=lambda candidate: candidate.row.order)
    overruled = [candidate for candidate in group if candidate.form != newest.form]
    if newest.row.label_source == "corrected" and all(
        candidate.row.label_source == "approved" for candidate in overruled
    ):
        return newest.form
    return None


def without_duplicates(candidates: list[Candidate], dropped: Counter[str]) -> list[Candidate]:
    """Keep the newest verdict of equal questions with equal answers."""
    # They come oldest first, so the newest replaces the others.
    newest = {(candidate.twins, candidate.form): candidate for candidate in candidates}
    exact = {(candidate.key, candidate.form) for candidate in candidates}
    dropped["duplicate"] += len(candidates) - len(exact)
    dropped["near_duplicate"] += len(exact) - len(newest)
    return [
        candidate
        for candidate in candidates
        if newest[candidate.twins, candidate.form] is candidate
    ]


def grouped(
    candidates: Iterable[Candidate], by: Callable[[Candidate], Hashable]
) -> dict[Hashable, list[Candidate]]:
    groups: dict[Hashable, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[by(candidate)].append(candidate)
    return groups
