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

import numpy as np
from rensa import RMinHash

BANDS = 80
BAND_ROWS = 4
PERMUTATIONS = BANDS * BAND_ROWS
SEED = 20
# shingle sizes (methods page, section 7)
CHARACTERS = 5
WORDS = 3
WORDS_FROM = 50  # texts this long are compared by words ...
# ... and shorter ones by characters; both in between: 50 / .6, so no pair falls into the gap
CHARACTERS_BELOW = 84
WINDOW = 64  # of a crowded bucket each text meets the next 64 only; chains still join what is alike
ESTIMATE_SLACK = 0.15  # more than 5 standard deviations of the 320-hash estimate at .6
CHUNK = 20_000

Pairs = dict[tuple[int, int], float]


def similar_pairs(texts: Sequence[str], at_least: float) -> Pairs:
    """All (i, j), i < j, whose shingles overlap by at least `at_least`, with the exact overlap."""
    lengths = np.array([text.count(" ") + 1 for text in texts])
    short = np.flatnonzero(lengths < CHARACTERS_BELOW)
    long = np.flatnonzero(lengths >= WORDS_FROM)
    found = _among(short, *character_shingles([texts[i] for i in short.tolist()]), at_least)
    return found | _among(long, *word_shingles([texts[i] for i in long.tolist()]), at_least)


def character_shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    padded = [text.ljust(CHARACTERS, "\0") for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    return _windows(points, [len(text) for text in padded], CHARACTERS)


def word_shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    split = [text.split() for text in texts]
    hashes = np.fromiter((_word_hash(word) for words in split for word in words), dtype=np.uint64)
    return _windows(hashes, [len(words) for words in split], WORDS)


@lru_cache(maxsize=200_000)
def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")


def _windows(values: np.ndarray, lengths: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """A 64-bit hash of each run of `size` values that stays inside one text; and where each text's
    hashes begin.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    if not len(lengths):
        return np.zeros(0, np.uint64), np.zeros(1, np.uint64)
    mixed = np.zeros(len(values) - size + 1, np.uint64)
    for offset in range(size):
        mixed = _mix(mixed + values[offset : offset + len(mixed)])
    inside = np.ones(len(values), bool)
    for offset in range(1, size):
        inside[ends - offset] = False
    starts = np.concatenate([[0], np.cumsum(np.array(lengths) - size + 1)]).astype(np.uint64)
    return mixed[inside[: len(mixed)]], starts


def _mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _among(rows: np.ndarray, hashes: np.ndarray, starts: np.ndarray, at_least: float) -> Pairs:
    if len(rows) < 2:
        return {}
    signatures = _signatures(hashes, starts)
    first, second = candidates(signatures)
    likely = _estimates(signatures, first, second) >= at_least - ESTIMATE_SLACK

    @lru_cache(maxsize=20_000)
    def shingles(i: int) -> frozenset[int]:
        return frozenset(hashes[int(starts[i]) : int(starts[i + 1])].tolist())

    pairs: Pairs = {}
    for i, j in zip(first[likely].tolist(), second[likely].tolist(), strict=True):
        one = shingles(i)
        other = shingles(j)
        shared = len(one & other)
        overlap = shared / (len(one) + len(other) - shared)
        if overlap >= at_least:
            pairs[int(rows[i]), int(rows[j])] = overlap
    return pairs


def _signatures(hashes: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(texts, 320) uint32; in chunks, because rensa hands its matrix out as Python integers."""
    rows = len(starts) - 1
    signatures = np.empty((rows, PERMUTATIONS), np.uint32)
    for begin in range(0, rows, CHUNK):
        edge = starts[begin : begin + CHUNK + 1]
        part = hashes[int(edge[0]) : int(edge[-1])]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            part, edge - edge[0], PERMUTATIONS, SEED
        )
        signatures[begin : begin + CHUNK] = matrix.to_rows()
    return signatures


def candidates(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that agree in a whole band, each once."""
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


def _neighbours(bucket: np.ndarray, rows: int) -> np.ndarray:
    order = np.argsort(bucket, kind="stable")
    ranked = bucket[order]
    codes = [np.zeros(0, np.int64)]
    for distance in range(1, min(WINDOW, rows - 1) + 1):
        same = np.flatnonzero(ranked[distance:] == ranked[:-distance])
        if not len(same):
            break
        codes.append(
            order[same] * rows + order[same + distance]
        )  # the sort is stable, so the first is the smaller
    return np.concatenate(codes)


def _estimates(signatures: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    parts = [
        (signatures[first[i : i + CHUNK]] == signatures[second[i : i + CHUNK]]).mean(axis=1)
        for i in range(0, len(first), CHUNK)
    ]
    return np.concatenate([np.zeros(0), *parts])
