"""Train, validation or test, by cluster: a hash of the cluster decides, so a row stays where it is
in every later version.

That matters: were a row of version 1's training to turn up in version 2's test, the champion would
have seen the answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import blake2b

from services.dataset_builder.rows import Candidate

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}

Splits = dict[str, list[Candidate]]
"""The rows of a dataset by split: those of `SHARES`, and `audit`."""


def split(candidates: list[Candidate], audit: list[Candidate]) -> Splits:
    """Return the splits, each oldest first.

    Small sets are repaired: every label is trained on, validation and evaluation have rows.
    """
    home = {candidate.cluster: by_chance(position(candidate.cluster)) for candidate in candidates}
    give_every_label_training(home, candidates)
    lend_from_training(home, candidates, "validation")
    if not audit:
        lend_from_training(home, candidates, "test")
    parts: Splits = {name: [] for name in SHARES}
    for candidate in candidates:
        parts[home[candidate.cluster]].append(candidate)
    return parts | {"audit": audit}


def position(cluster: int) -> float:
    """Return where in [0, 1) a cluster falls, in this version and in all later ones."""
    digest = blake2b(f"split:{cluster}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def by_chance(position: float) -> str:
    if position < SHARES["train"]:
        return "train"
    return "validation" if position < SHARES["train"] + SHARES["validation"] else "test"


def give_every_label_training(home: dict[int, str], candidates: list[Candidate]) -> None:
    clusters: dict[str, set[int]] = defaultdict(set)
    for candidate in candidates:
        clusters[candidate.label].add(candidate.cluster)
    for label in sorted(clusters):
        if all(home[cluster] != "train" for cluster in clusters[label]):
            home[min(clusters[label], key=position)] = "train"


def lend_from_training(home: dict[int, str], candidates: list[Candidate], name: str) -> None:
    """Fill an empty split with the training cluster nearest to it.

    It stays empty where that would take some label's last training row.
    """
    if not home or name in home.values():
        return
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    for candidate in candidates:
        if home[candidate.cluster] == "train":
            labels[candidate.cluster][candidate.label] += 1
    trained = sum(labels.values(), Counter())
    spare = [
        cluster
        for cluster in labels
        if all(trained[label] > count for label, count in labels[cluster].items())
    ]
    if spare:
        home[max(spare, key=position)] = name
