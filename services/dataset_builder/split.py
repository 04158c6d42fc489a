"""Train, validation or test, by cluster: a hash of the cluster decides, so a row stays where it is
in every later version.

That matters: were a row of version 1's training to turn up in version 2's test, the champion would
have seen the answer. What comes often is learned, never held out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

from services.dataset_builder.rows import Candidate

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
# A question that so many verdicts ask, and a cluster of so many questions, is learned.
FREQUENT_VERDICTS = 5
LARGE_ROWS = 20

Splits = dict[str, list[Candidate]]
"""The rows of a dataset by split: those of `SHARES`, and `audit`."""


def split(
    candidates: Sequence[Candidate],
    audit: Sequence[Candidate],
    seen: Collection[bytes] = frozenset(),
) -> Splits:
    """Return the splits, each oldest first. `seen`: keys of questions that the version before was
    trained or validated on; they are never tested on.

    Small sets are repaired: every label is trained on, validation and evaluation have rows.
    """
    often = frequent(candidates)
    home = {
        one.cluster: "train" if one.cluster in often else by_chance(position(one.cluster))
        for one in candidates
    }
    # Clusters join and part as rows come.
    for one in candidates:
        if one.question.key in seen and home[one.cluster] == "test":
            home[one.cluster] = "train"
    give_every_label_training(home, candidates)
    lend_from_training(home, candidates, "validation")
    if not audit:
        lend_from_training(home, candidates, "test")
    parts: Splits = {name: [] for name in SHARES}
    for candidate in candidates:
        parts[home[candidate.cluster]].append(candidate)
    return parts | {"audit": with_strata(audit, home, seen)}


def frequent(candidates: Sequence[Candidate]) -> set[int]:
    """Return the clusters that are learned whatever their hash says."""
    sizes = Counter(one.cluster for one in candidates)
    return {
        one.cluster
        for one in candidates
        if one.count >= FREQUENT_VERDICTS or sizes[one.cluster] > LARGE_ROWS
    }


def with_strata(
    audit: Sequence[Candidate], home: Mapping[int, str], seen: Collection[bytes]
) -> list[Candidate]:
    """Say of each audit row whether its question, or one like it, is trained on, or the version
    before was trained on it: the champion may know what the challenger does not.
    """
    return [replace(one, stratum=stratum(one, home, seen)) for one in audit]


def stratum(audited: Candidate, home: Mapping[int, str], seen: Collection[bytes]) -> str:
    where = home.get(audited.cluster)
    # What is validated on now was so before.
    known = where == "train" or (where != "validation" and audited.question.key in seen)
    return "repeated" if known else "first_seen"


def strata(parts: Splits) -> dict[str, int]:
    """Count the audit rows of each stratum."""
    counts = Counter(repeated=0, first_seen=0)
    counts.update(one.stratum for one in parts["audit"] if one.stratum)
    return dict(counts)


def position(cluster: int) -> float:
    """Return where in [0, 1) a cluster falls, in this version and in all later ones."""
    digest = blake2b(f"split:{cluster}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def by_chance(position: float) -> str:
    if position < SHARES["train"]:
        return "train"
    return "validation" if position < SHARES["train"] + SHARES["validation"] else "test"


def give_every_label_training(home: dict[int, str], candidates: Sequence[Candidate]) -> None:
    clusters: dict[str, set[int]] = defaultdict(set)
    for candidate in candidates:
        clusters[candidate.label].add(candidate.cluster)
    for label in sorted(clusters):
        if all(home[cluster] != "train" for cluster in clusters[label]):
            home[min(clusters[label], key=position)] = "train"


def lend_from_training(home: dict[int, str], candidates: Sequence[Candidate], name: str) -> None:
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
