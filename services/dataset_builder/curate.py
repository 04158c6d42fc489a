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
from services.dataset_builder.rows import Item, Row

DUPLICATE = 0.8  # exact Jaccard of the shingles: the same question again
LEAK = 0.6  # close enough to give the answer away: never on both sides of a split
MAJORITY = 2 / 3


@dataclass(frozen=True)
class Curated:
    """`training` is to be split, `audit` only evaluated on; both oldest first."""

    training: list[Item]
    audit: list[Item]
    dropped: Counter[str]
    noticed: Counter[str]


def curate(rows: Iterable[Row], spec: RouteSpec) -> Curated:
    items, dropped, noticed = usable(rows, spec)
    items = clustered(items)
    audit = [item for item in items if item.row.audit]
    apart = without_leaks(items, audit, dropped)
    agreed = without_contradictions(apart, spec, dropped)
    return Curated(without_duplicates(agreed, dropped), audit, dropped, noticed)


def clustered(items: list[Item]) -> list[Item]:
    """Number the clusters (never parted) and the twins (duplicates) over training and audit rows
    together.

    A number comes from the oldest member's content, so it outlives rows that join later, and with
    it the split.
    """
    distinct = {item.key: item.text for item in reversed(items)}
    # oldest first
    keys = list(distinct)[::-1]
    texts = list(distinct.values())[::-1]
    pairs = similar_pairs(texts, LEAK)
    clusters = components(len(keys), pairs)
    twins = components(len(keys), (pair for pair, overlap in pairs.items() if overlap >= DUPLICATE))
    place = {key: index for index, key in enumerate(keys)}
    return [
        replace(
            item,
            cluster=_number(keys[clusters[place[item.key]]]),
            twins=_number(keys[twins[place[item.key]]]),
        )
        for item in items
    ]


def components(size: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Union-find: for each index the smallest index it is connected with."""
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
    return int.from_bytes(key[:8], "big") >> 1  # fits a signed 64-bit column


def without_leaks(items: list[Item], audit: list[Item], dropped: Counter[str]) -> list[Item]:
    """Training gives way to evaluation, never the other way round."""
    watched = {item.cluster for item in audit}
    candidates = [item for item in items if not item.row.audit]
    kept = [item for item in candidates if item.cluster not in watched]
    dropped["near_audit"] += len(candidates) - len(kept)
    return kept


def without_contradictions(items: list[Item], spec: RouteSpec, dropped: Counter[str]) -> list[Item]:
    """Equal questions with different answers: the agreed answer stays, the others go; without
    agreement all go.

    Other tasks than classification contradict only in exact duplicates: a changed amount changes
    the right extraction.
    """
    unit: Callable[[Item], Hashable] = (
        (lambda item: item.twins) if spec.task == "classification" else (lambda item: item.key)
    )
    asked = grouped(items, unit)
    answers = {key: agreed_answer(group) for key, group in asked.items()}
    kept = []
    for item in items:
        answer = answers[unit(item)]
        if item.form == answer:
            kept.append(item)
        else:
            dropped["ambiguous" if answer is None else "contradicted"] += 1
    return kept


def agreed_answer(group: list[Item]) -> str | None:
    """Two thirds of the verdicts; else the newest, when it corrects what reviewers before it had
    only approved.
    """
    (form, votes), *others = Counter(item.form for item in group).most_common()
    if not others or votes >= MAJORITY * len(group):
        return form
    newest = max(group, key=lambda item: item.row.order)
    overruled = [item for item in group if item.form != newest.form]
    if newest.row.label_source == "corrected" and all(
        item.row.label_source == "approved" for item in overruled
    ):
        return newest.form
    return None


def without_duplicates(items: list[Item], dropped: Counter[str]) -> list[Item]:
    """Of equal questions with equal answers the newest verdict stays."""
    newest = {(item.twins, item.form): item for item in items}  # items come oldest first
    exact = {(item.key, item.form) for item in items}
    dropped["duplicate"] += len(items) - len(exact)
    dropped["near_duplicate"] += len(exact) - len(newest)
    return [item for item in items if newest[item.twins, item.form] is item]


def grouped(items: Iterable[Item], by: Callable[[Item], Hashable]) -> dict[Hashable, list[Item]]:
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[by(item)].append(item)
    return groups
