"""Has the input changed? Two-sample tests between a reference and a window of the same adapter's
answers; no labels needed (docs/methods.md, section 5).

The adapter's confidence (KS), the length of the input (KS), the labels it answers (chi-square) and
the wording (energy distance on hashed character trigrams); the last two by permutation. Holm over
the tests keeps a window's false alarms at ALPHA, and an alarm needs two of the last three windows.

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
import numpy.typing as npt
from scipy.stats import ks_2samp

from schemas.monitoring import Statistic

Floats = npt.NDArray[np.floating]
Integers = npt.NDArray[np.integer]

# Share of the windows that may fire although nothing changed.
ALPHA = 0.01
# An alarm needs this many of the last windows.
NEEDED = 2
OF_LAST = 3
BUCKETS = 64
# The smallest p-value is 1/1000, under the 1/400 that Holm asks of the first of four tests.
PERMUTATIONS = 999
# Where so many of the first draws are as extreme as what was seen, more draws change nothing: the
# test of the wording takes a quarter of the time then, and never fires where all draws would not.
FIRST = 99
ENOUGH = 10
# What each test's threshold is computed for when four of them share ALPHA.
LEVEL = ALPHA / 4


@dataclass(frozen=True)
class Sample:
    """What is watched of some answers, as columns in the order of arrival."""

    score: Floats
    words: Integers
    label: Sequence[str]
    # One row of hashed trigram counts per answer: (answers, BUCKETS).
    wording: Integers

    def part(self, start: int, end: int) -> Sample:
        return Sample(
            self.score[start:end],
            self.words[start:end],
            self.label[start:end],
            self.wording[start:end],
        )


@dataclass(frozen=True)
class Comparison:
    name: str
    value: float
    # What `value` must pass when four tests share ALPHA; for people to read.
    threshold: float
    p_value: float


def fingerprint(text: str) -> bytes:
    """Return the wording as 64 hashed trigram counts of one byte each.

    That is enough to see it change, and not enough to read it.
    """
    counts = np.zeros(BUCKETS, dtype=np.int64)
    folded = f" {' '.join(text.casefold().split())} "
    for start in range(len(folded) - 2):
        counts[zlib.crc32(folded[start : start + 3].encode()) % BUCKETS] += 1
    return np.minimum(counts, 255).astype(np.uint8).tobytes()


def compare(reference: Sample, window: Sample, seed: int = 0) -> tuple[Statistic, ...]:
    """Run all tests of one window; `fired` is after Holm's correction over them."""
    results = [
        _ks("confidence-ks", reference.score, window.score),
        _ks("length-ks", reference.words, window.words),
        _chi_square("answer-chi2", reference.label, window.label, seed),
        _energy("wording-energy", _rooted(reference.wording), _rooted(window.wording), seed),
    ]
    fired = holm([result.p_value for result in results])
    return tuple(
        Statistic(
            name=result.name,
            value=result.value,
            threshold=result.threshold,
            p_value=result.p_value,
            fired=hit,
        )
        for result, hit in zip(results, fired, strict=True)
    )


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> list[bool]:
    """Say which are significant when the chance of any false one must stay at alpha."""
    order = np.argsort(p_values)
    fired = [False] * len(order)
    for rank, index in enumerate(order):
        if p_values[index] > alpha / (len(order) - rank):
            break
        fired[index] = True
    return fired


def sustained(fired: Sequence[bool]) -> bool:
    """Return whether enough of the last windows fired for an alarm."""
    return sum(fired[-OF_LAST:]) >= NEEDED


def _ks(name: str, reference: Floats | Integers, window: Floats | Integers) -> Comparison:
    """Compare two samples of numbers by the Kolmogorov-Smirnov test."""
    m = len(reference)
    n = len(window)
    result = ks_2samp(reference, window, method="asymp")
    return Comparison(
        name=name,
        value=float(result.statistic),
        threshold=float(np.sqrt(-np.log(LEVEL / 2) / 2 * (1 / m + 1 / n))),
        p_value=float(result.pvalue),
    )


def _chi_square(
    name: str, reference: Sequence[str], window: Sequence[str], seed: int
) -> Comparison:
    """Compare two samples of labels by the chi-square statistic.

    Its law is drawn by permutation: labels that are rare, or new, break the usual approximation.
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
    # Each row sums the statistic over both samples.
    values = ((counts - expected) ** 2 / expected).sum(axis=1) * (m + n) / m
    return Comparison(
        name=name,
        value=float(values[0]),
        threshold=float(np.quantile(values[1:], 1 - LEVEL)),
        p_value=float((values >= values[0] - 1e-9).mean()),
    )


def _rooted(counts: Integers) -> Floats:
    """Return the trigrams' shares, square-rooted (Hellinger): long inputs do not drown short
    ones.
    """
    shares: Floats = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return shares


def distances(points: Floats) -> Floats:
    """Return the distance between each two points: by the product of matrices, which takes a third
    of the time that pair by pair takes.
    """
    squares = (points**2).sum(axis=1)
    apart = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(apart, 0)
    found: Floats = np.sqrt(np.maximum(apart, 0, out=apart)).astype(np.float32)
    return found


def _energy(name: str, reference: Floats, window: Floats, seed: int) -> Comparison:
    """Compare two clouds of points by their energy distance.

    Its law comes from relabelled points: one distance matrix, many permutations.
    """
    m = len(reference)
    n = len(window)
    pooled = np.concatenate([reference, window])
    distance = distances(pooled)
    sums = distance.sum(axis=1)
    rng = np.random.default_rng(seed)
    true = np.zeros((1, m + n), dtype=np.float32)
    true[:, m:] = 1
    energy = np.empty(0)
    for draws in (FIRST, PERMUTATIONS - FIRST):
        drawn = rng.permuted(np.repeat(true, draws, axis=0), axis=1)
        # The first labelling of all is the true one.
        is_window = drawn if len(energy) else np.concatenate([true, drawn])
        within = np.einsum("ij,ij->i", is_window @ distance, is_window)
        crossing = is_window @ sums - within
        rest = sums.sum() - within - 2 * crossing
        values = 2 * crossing / (m * n) - within / n**2 - rest / m**2
        energy = np.concatenate([energy, values])
        if (energy >= energy[0] - 1e-9).sum() > ENOUGH:
            break
    return Comparison(
        name=name,
        value=float(energy[0]),
        threshold=float(np.quantile(energy[1:], 1 - LEVEL)),
        p_value=float((energy >= energy[0] - 1e-9).mean()),
    )
