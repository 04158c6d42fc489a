"""Train, validation or test, by cluster: a hash of the cluster decides, so a row stays where it is
in every later version.

That matters: were a row of version 1's training to turn up in version 2's test, the champion would
have seen the answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import blake2b

from services.dataset_builder.rows import Item

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split(items: list[Item], audit: list[Item]) -> dict[str, list[Item]]:
    """Each split oldest first. Small sets are repaired: every label is trained on, validation and
    evaluation have rows.
    """
    home = {item.cluster: by_chance(position(item.cluster)) for item in items}
    give_every_label_training(home, items)
    lend_from_training(home, items, "validation")
    if not audit:
        lend_from_training(home, items, "test")
    parts: dict[str, list[Item]] = {name: [] for name in SHARES}
    for item in items:
        parts[home[item.cluster]].append(item)
    return parts | {"audit": audit}


def position(cluster: int) -> float:
    """Where in [0, 1) a cluster falls, in this version and in all later ones."""
    return (
        int.from_bytes(blake2b(f"split:{cluster}".encode(), digest_size=8).digest(), "big") / 2**64
    )


def by_chance(position: float) -> str:
    if position < SHARES["train"]:
        return "train"
    return "validation" if position < SHARES["train"] + SHARES["validation"] else "test"


def give_every_label_training(home: dict[int, str], items: list[Item]) -> None:
    clusters: dict[str, set[int]] = defaultdict(set)
    for item in items:
        clusters[item.label].add(item.cluster)
    for label in sorted(clusters):
        if all(home[cluster] != "train" for cluster in clusters[label]):
            home[min(clusters[label], key=position)] = "train"


def lend_from_training(home: dict[int, str], items: list[Item], name: str) -> None:
    """Fill an empty split with the cluster nearest to it, unless some label would lose its last
    training row.
    """
    if not home or name in home.values():
        return
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    for item in items:
        if home[item.cluster] == "train":
            labels[item.cluster][item.label] += 1
    trained = sum(labels.values(), Counter())
    spare = [
        cluster
        for cluster in labels
        if all(trained[label] > count for label, count in labels[cluster].items())
    ]
    if spare:
        home[max(spare, key=position)] = name
