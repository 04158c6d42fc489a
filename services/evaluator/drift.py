"""Has the input changed? Two-sample tests between a reference and a window of the same adapter's
answers; no labels needed.

The adapter's confidence (KS), the length of the input (KS), the labels it answers (chi-square) and
the wording (energy distance on hashed character trigrams); the last two by permutation. Holm over
the tests keeps a window's false alarms at ALPHA, and an alarm needs two of the last three windows
(methods page, section 5a).

Measured on the bundled messages: the wording test sees another language or template at 50 answers,
but new intents worded like the old ones hardly (half of them new: 3 % of windows of 50, 17 % of
200). Those are the confidence's and labels' part.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

from schemas.events import Statistic

ALPHA = 0.01
NEEDED = 2
OF_LAST = 3
BUCKETS = 64
PERMUTATIONS = (
    999  # the smallest p-value is 1/1000, under the 1/400 that Holm asks of the first of four tests
)


@dataclass(frozen=True)
class Sample:
    """What is watched of some answers, in order. `wording` has one row of hashed trigram counts per
    answer.
    """

    score: np.ndarray
    words: np.ndarray
    label: Sequence[str]
    wording: np.ndarray

    def part(self, start: int, end: int) -> Sample:
        return Sample(
            self.score[start:end],
            self.words[start:end],
            self.label[start:end],
            self.wording[start:end],
        )


def fingerprint(text: str) -> bytes:
    """The wording as 64 hashed trigram counts of one byte each: enough to see it change, not enough
    to read it.
    """
    counts = np.zeros(BUCKETS, dtype=np.int64)
    folded = f" {' '.join(text.casefold().split())} "
    for start in range(len(folded) - 2):
        counts[zlib.crc32(folded[start : start + 3].encode()) % BUCKETS] += 1
    return np.minimum(counts, 255).astype(np.uint8).tobytes()


def compare(reference: Sample, window: Sample, seed: int = 0) -> tuple[Statistic, ...]:
    """All tests of one window; `fired` is after Holm's correction over them."""
    results = [
        ("confidence-ks", *_ks(reference.score, window.score)),
        ("length-ks", *_ks(reference.words, window.words)),
        ("answer-chi2", *_chi_square(reference.label, window.label, seed)),
        ("wording-energy", *_energy(_rooted(reference.wording), _rooted(window.wording), seed)),
    ]
    fired = holm([p for _, _, _, p in results])
    return tuple(
        Statistic(name=name, value=value, threshold=threshold, p_value=p, fired=bool(hit))
        for (name, value, threshold, p), hit in zip(results, fired, strict=True)
    )


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Which are significant when the chance of any false one must stay at alpha."""
    order = np.argsort(p_values)
    fired = [False] * len(order)
    for rank, index in enumerate(order):
        if p_values[index] > alpha / (len(order) - rank):
            break
        fired[index] = True
    return fired


def sustained(fired: Sequence[bool]) -> bool:
    return sum(fired[-OF_LAST:]) >= NEEDED


# Each test returns (statistic, the threshold it must pass when four tests share ALPHA, p-value).
LEVEL = ALPHA / 4


def _ks(reference: np.ndarray, window: np.ndarray) -> tuple[float, float, float]:
    m = len(reference)
    n = len(window)
    result = ks_2samp(reference, window, method="asymp")
    return (
        float(result.statistic),
        float(np.sqrt(-np.log(LEVEL / 2) / 2 * (1 / m + 1 / n))),
        float(result.pvalue),
    )


def _chi_square(
    reference: Sequence[str], window: Sequence[str], seed: int
) -> tuple[float, float, float]:
    """Exact by draws from the permutation law: labels that are rare, or new, break the usual
    approximation.
    """
    m = len(reference)
    n = len(window)
    before = Counter(reference)
    after = Counter(window)
    totals = before + after
    expected = np.array(list(totals.values())) * n / (m + n)
    draws = np.random.default_rng(seed).multivariate_hypergeometric(
        list(totals.values()), n, size=PERMUTATIONS
    )
    counts = np.vstack([[after[label] for label in totals], draws])
    values = (
        ((counts - expected) ** 2 / expected).sum(axis=1) * (m + n) / m
    )  # both samples' share of the statistic
    return (
        float(values[0]),
        float(np.quantile(values[1:], 1 - LEVEL)),
        float((values >= values[0] - 1e-9).mean()),
    )


def _rooted(counts: np.ndarray) -> np.ndarray:
    """Shares of the trigrams, square-rooted (Hellinger): long inputs do not drown short ones."""
    return np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _energy(reference: np.ndarray, window: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Energy distance between the two clouds, against relabelled ones: one distance matrix, many
    permutations.
    """
    m = len(reference)
    n = len(window)
    pooled = np.concatenate([reference, window])
    distance = cdist(pooled, pooled).astype(np.float32)
    is_window = np.zeros((PERMUTATIONS + 1, m + n), dtype=np.float32)
    is_window[:, m:] = 1  # the first labelling is the true one
    is_window[1:] = np.random.default_rng(seed).permuted(is_window[1:], axis=1)
    within = np.einsum("ij,ij->i", is_window @ distance, is_window)
    crossing = is_window @ distance.sum(axis=1) - within
    rest = distance.sum() - within - 2 * crossing
    energy = 2 * crossing / (m * n) - within / n**2 - rest / m**2
    p = float((energy >= energy[0] - 1e-9).mean())
    return float(energy[0]), float(np.quantile(energy[1:], 1 - LEVEL)), p
