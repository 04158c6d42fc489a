"""python -m benchmarks.leakage     Simulates streams of verdicts whose questions repeat (Zipf),
trains a nearest-centroid classifier on what each policy leaves, and compares the accuracy on
held-out rows with the accuracy on fresh traffic. Needs Banking77 beside the repository.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from services.dataset_builder import near
from services.dataset_builder.curate import ALIKE

BANKING = Path(__file__).parents[3] / "shared" / "data" / "banking77"
DISTINCT = 3_000
AUDITED = 0.04 / 0.14
FRESH = 3_000
NEWEST = 0.2


@dataclass(frozen=True)
class Stream:
    """Verdicts as indices of questions, oldest first, and which were audited."""

    asked: np.ndarray
    audited: np.ndarray


@dataclass(frozen=True)
class Division:
    trained: np.ndarray
    held_out: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leakage", description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 4_000, 16_000])
    parser.add_argument("--runs", type=int, default=10)
    chosen = parser.parse_args()
    if not BANKING.exists():
        sys.exit(f"cannot simulate here: no {BANKING.name} beside the repository")
    world = World(read())
    table = Table("policy", "verdicts", "trained", "held-out", "live", "gap, points")
    for name, policy in POLICIES.items():
        for size in chosen.sizes:
            runs = np.array([world.run(policy, size, seed) for seed in range(chosen.runs)])
            trained, held_out, live = np.nanmean(runs, axis=0)
            gap = np.nanmean(np.abs(runs[:, 1] - runs[:, 2]))
            table.add_row(
                name,
                f"{size:,}",
                f"{trained:,.0f}",
                f"{100 * held_out:.1f} %",
                f"{100 * live:.1f} %",
                f"{100 * gap:.1f}",
            )
    Console().print(table)


def read() -> list[tuple[str, str]]:
    rows = []
    for file in sorted(BANKING.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            rows += [(row["text"].casefold(), row["category"]) for row in csv.DictReader(lines)]
    return random.Random(1).sample(sorted(set(rows)), DISTINCT)


class World:
    """Questions with their labels, clusters and weighted runs of characters."""

    def __init__(self, questions: Sequence[tuple[str, str]]) -> None:
        texts = [text for text, _ in questions]
        names = sorted({label for _, label in questions})
        self.labels = np.array([names.index(label) for _, label in questions])
        self.clusters = np.array(near.clusters(texts, ALIKE))
        shingles = near.by_characters(texts)
        owner = np.repeat(np.arange(len(texts)), np.diff(shingles.starts))
        slots = (shingles.tokens % np.uint32(4096)).astype(np.int64)
        weights = np.log(len(texts) / np.bincount(slots, minlength=4096)[slots])
        self.vectors = np.zeros((len(texts), 4096))
        np.add.at(self.vectors, (owner, slots), weights)
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        self.odds = list(accumulate(1 / rank for rank in range(1, len(texts) + 1)))

    def run(self, policy: Policy, size: int, seed: int) -> tuple[float, float, float]:
        """Return rows trained on, accuracy on held-out rows, and on fresh traffic."""
        rng = random.Random(seed)
        ranks = list(range(len(self.labels)))
        rng.shuffle(ranks)
        draw = np.array(rng.choices(ranks, cum_weights=self.odds, k=size + FRESH))
        audited = np.array([rng.random() < AUDITED for _ in range(size)])
        division = policy(Stream(draw[:size], audited), self.clusters)
        if not len(division.trained):
            return 0, np.nan, np.nan
        centroids = np.zeros((self.labels.max() + 1, self.vectors.shape[1]))
        distinct = np.unique(division.trained)
        np.add.at(centroids, self.labels[distinct], self.vectors[distinct])
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-9
        right = (self.vectors @ centroids.T).argmax(axis=1) == self.labels
        # A question that was trained on is known by heart, as an adapter would.
        right[distinct] = True
        return len(distinct), right[division.held_out].mean(), right[draw[size:]].mean()


Policy = Callable[[Stream, np.ndarray], Division]


def whatever_is_alike(stream: Stream, clusters: np.ndarray) -> Division:
    """Keep every question that is like an audited one out, as release 0.1 did."""
    watched = np.unique(clusters[stream.asked[stream.audited]])
    others = stream.asked[~stream.audited]
    return Division(others[~np.isin(clusters[others], watched)], stream.asked[stream.audited])


def the_audited_verdicts(stream: Stream, _: np.ndarray) -> Division:
    """Keep only the audited verdicts themselves out."""
    return Division(stream.asked[~stream.audited], stream.asked[stream.audited])


def the_newest(stream: Stream, _: np.ndarray) -> Division:
    """Split by time: train on the oldest four fifths, test on the newest fifth."""
    cut = round(len(stream.asked) * (1 - NEWEST))
    return Division(stream.asked[:cut], stream.asked[cut:])


POLICIES: dict[str, Policy] = {
    "whatever is alike": whatever_is_alike,
    "the audited verdicts": the_audited_verdicts,
    "the newest fifth": the_newest,
}


if __name__ == "__main__":
    main()
