"""Pairs of near-duplicate texts: MinHash finds candidates, the exact Jaccard similarity of their
shingles decides.

P(candidate at similarity s) = 1 - (1 - s^4)^80: 0.99998 at s = .6, so one pair in 66,000 right at
.6 is missed, and none to speak of above .65; 0.0005 at s = .05, so the work stays near linear for
texts that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]
Pairs = dict[tuple[int, int], float]

BANDS = 80
BAND_ROWS = 4
PERMUTATIONS = BANDS * BAND_ROWS
SEED = 20
# Sizes of a shingle (docs/methods.md, section 7).
CHARACTERS = 5
WORDS = 3
# Texts of this many words are compared by words, and those under CHARACTERS_BELOW by characters:
# 50 / .6, so no pair falls into the gap.
WORDS_FROM = 50
CHARACTERS_BELOW = 84
# Of a crowded bucket each text meets the next 64 only; chains still join what is alike.
WINDOW = 64
# More than 5 standard deviations of the 320-hash estimate at .6.
ESTIMATE_SLACK = 0.15
# Rows at once, where a matrix of all would be too large.
CHUNK = 20_000


class Shingles(NamedTuple):
    """The 64-bit hashes of all texts' shingles, and where each text's hashes begin.

    `starts` has one entry more than there are texts: the end of the last.
    """

    hashes: Hashes
    starts: Hashes


def similar_pairs(texts: Sequence[str], at_least: float) -> Pairs:
    """Return all (i, j), i < j, whose shingles overlap by at least `at_least`, with the overlap."""
    lengths = np.array([text.count(" ") + 1 for text in texts])
    short = np.flatnonzero(lengths < CHARACTERS_BELOW)
    long = np.flatnonzero(lengths >= WORDS_FROM)
    found = _among(short, character_shingles([texts[i] for i in short.tolist()]), at_least)
    return found | _among(long, word_shingles([texts[i] for i in long.tolist()]), at_least)


def character_shingles(texts: Sequence[str]) -> Shingles:
    padded = [text.ljust(CHARACTERS, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    return _windows(points, [len(text) for text in padded], CHARACTERS)


def word_shingles(texts: Sequence[str]) -> Shingles:
    split = [text.split() for text in texts]
    hashes = np.fromiter((_word_hash(word) for words in split for word in words), dtype=np.uint64)
    return _windows(hashes, [len(words) for words in split], WORDS)


@lru_cache(maxsize=200_000)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")


def _windows(values: Hashes, lengths: list[int], size: int) -> Shingles:
    """Hash each run of `size` values that stays inside one text."""
    ends = np.cumsum(lengths, dtype=np.int64)
    if not len(lengths):
        return Shingles(np.zeros(0, np.uint64), np.zeros(1, np.uint64))
    mixed = np.zeros(len(values) - size + 1, np.uint64)
    for offset in range(size):
        mixed = _mix(mixed + values[offset : offset + len(mixed)])
    inside = np.ones(len(values), bool)
    for offset in range(1, size):
        inside[ends - offset] = False
    starts = np.concatenate([[0], np.cumsum(np.array(lengths) - size + 1)]).astype(np.uint64)
    return Shingles(mixed[inside[: len(mixed)]], starts)


def _mix(value: Hashes) -> Hashes:
    """Mix as the finaliser of splitmix64 does: every input bit reaches every output bit."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _among(rows: Indices, texts: Shingles, at_least: float) -> Pairs:
    """Return the similar pairs among some of the texts; `rows` are their indices among all."""
    if len(rows) < 2:
        return {}
    signatures = _signatures(texts)
    first, second = colliding_pairs(signatures)
    likely = _estimates(signatures, first, second) >= at_least - ESTIMATE_SLACK

    @lru_cache(maxsize=20_000)
    def shingles(i: int) -> frozenset[int]:
        start, end = texts.starts[i : i + 2].tolist()
        return frozenset(texts.hashes[start:end].tolist())

    pairs: Pairs = {}
    for i, j in zip(first[likely].tolist(), second[likely].tolist(), strict=True):
        one = shingles(i)
        other = shingles(j)
        shared = len(one & other)
        overlap = shared / (len(one) + len(other) - shared)
        if overlap >= at_least:
            pairs[int(rows[i]), int(rows[j])] = overlap
    return pairs


def _signatures(texts: Shingles) -> Signatures:
    """Return the MinHash signatures, (texts, 320).

    They are made in chunks, because rensa hands its matrix out as Python integers.
    """
    rows = len(texts.starts) - 1
    signatures = np.empty((rows, PERMUTATIONS), np.uint32)
    for begin in range(0, rows, CHUNK):
        edge = texts.starts[begin : begin + CHUNK + 1]
        part = texts.hashes[int(edge[0]) : int(edge[-1])]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            part, edge - edge[0], PERMUTATIONS, SEED
        )
        signatures[begin : begin + CHUNK] = matrix.to_rows()
    return signatures


def colliding_pairs(signatures: Signatures) -> tuple[Indices, Indices]:
    """Return the pairs that agree in a whole band, each once, as first and second indices."""
    rows = len(signatures)
    codes = [np.zeros(0, np.int64)]
    for band in range(BANDS):
        four = signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS].astype(np.uint64)
        bucket = np.zeros(rows, np.uint64)
        for column in range(BAND_ROWS):
            bucket = _mix(bucket + four[:, column])
        codes.append(_neighbours(bucket, rows))
    chosen = np.unique(np.concatenate(codes))
    return chosen // rows, chosen % rows


def _neighbours(bucket: Hashes, rows: int) -> Indices:
    """Return the pairs of texts in the same bucket, each as first * rows + second."""
    order = np.argsort(bucket, kind="stable")
    ranked = bucket[order]
    codes = [np.zeros(0, np.int64)]
    for distance in range(1, min(WINDOW, rows - 1) + 1):
        same = np.flatnonzero(ranked[distance:] == ranked[:-distance])
        if not len(same):
            break
        # The sort is stable, so the first is the smaller.
        codes.append(order[same] * rows + order[same + distance])
    return np.concatenate(codes)


def _estimates(signatures: Signatures, first: Indices, second: Indices) -> npt.NDArray[np.float64]:
    """Estimate the similarity of each pair: the share of the hashes in which they agree."""
    parts = [
        (signatures[first[i : i + CHUNK]] == signatures[second[i : i + CHUNK]]).mean(axis=1)
        for i in range(0, len(first), CHUNK)
    ]
    return np.concatenate([np.zeros(0), *parts])
