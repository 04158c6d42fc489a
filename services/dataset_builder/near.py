"""Clusters of near-duplicate texts: MinHash finds pairs, the exact Jaccard similarity of their
shingles decides.

What many texts share says nothing about two of them (a web form, a greeting, a signature, "how do
I"), so common shingles are taken out first. P(a pair of similarity s meets in a band) is
1 - (1 - s^4)^64: 0.984 at s = .5, 0.9999 at .6, 0.0004 at .05. A text is compared with the first of
its bucket and its nearest neighbours there only, and with none of its own cluster: the work grows
with the number of texts, however many are alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BANDS = 64
BAND_ROWS = 4
SEED = 20
# Sizes of a shingle (docs/methods.md, section 7).
CHARACTERS = 5
WORDS = 3
# Texts of this many words are compared by words, and those under CHARACTERS_BELOW by characters:
# 50 / .6, so no pair falls into the gap.
WORDS_FROM = 50
CHARACTERS_BELOW = 84
# A shingle in more texts than this share, and than this many, is shared text.
COMMON_SHARE = 0.05
COMMON_TEXTS = 20
# Neighbours in a bucket that a text is compared with, beside the first.
NEIGHBOURS = 2
# Texts whose characters are hashed at once, and pairs that are compared at once.
TEXTS_AT_ONCE = 20_000
PAIRS_AT_ONCE = 100_000


class Shingles(NamedTuple):
    """The distinct shingles of all texts as 32-bit hashes, and where each text's begin.

    `starts` has one entry more than there are texts: the end of the last.
    """

    tokens: Tokens
    starts: Indices


def clusters(texts: Sequence[str], at_least: float) -> list[int]:
    """Return for each text the smallest index it is connected with by overlaps of `at_least`.

    Equal texts are one from the start: however many there are, nothing of them is shared text.
    """
    places: dict[str, int] = {}
    of_text = [places.setdefault(text, len(places)) for text in texts]
    first: dict[int, int] = {}
    for index, place in enumerate(of_text):
        first.setdefault(place, index)
    found = joined(list(places), at_least)
    return [first[found[place]] for place in of_text]


def joined(texts: Sequence[str], at_least: float) -> list[int]:
    root = np.arange(len(texts))
    words = np.array([text.count(" ") + 1 for text in texts], dtype=np.int64)
    for rows, shingled in (
        (np.flatnonzero(words < CHARACTERS_BELOW), by_characters),
        (np.flatnonzero(words >= WORDS_FROM), by_words),
    ):
        some = [texts[row] for row in rows.tolist()]
        join(root, rows, without_common(shingled(some)), at_least)
    found: list[int] = root.tolist()
    return found


def by_characters(texts: Sequence[str]) -> Shingles:
    parts = []
    for begin in range(0, len(texts), TEXTS_AT_ONCE):
        padded = [text.ljust(CHARACTERS, "\0") for text in texts[begin : begin + TEXTS_AT_ONCE]]
        parts.append(_windows(_points(padded), _lengths(padded), CHARACTERS))
    return _joined(parts)


def by_words(texts: Sequence[str]) -> Shingles:
    parts = []
    for begin in range(0, len(texts), TEXTS_AT_ONCE // 10):
        some = [f"{text} " for text in texts[begin : begin + TEXTS_AT_ONCE // 10]]
        points = _points(some)
        ends = np.flatnonzero(points == ord(" "))
        counts = np.array([text.count(" ") for text in some])
        parts.append(_windows(_hashed_runs(points, ends), counts, WORDS))
    return _joined(parts)


def _points(texts: Sequence[str]) -> Hashes:
    """Return the code points of all texts, one after the other."""
    return np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)


def _lengths(texts: Sequence[str]) -> Indices:
    return np.array([len(text) for text in texts], dtype=np.int64)


def _hashed_runs(points: Hashes, ends: Indices) -> Hashes:
    """Hash the runs that end at `ends`: a polynomial in an odd base, whose powers divide out."""
    base = np.uint64(0x9E3779B97F4A7C15)
    powers = np.multiply.accumulate(np.full(len(points), base))
    inverse = np.uint64(pow(int(base), -1, 2**64))
    undo = np.multiply.accumulate(np.full(len(points), inverse))
    sums = np.cumsum(_mix(points) * powers)
    begins = np.concatenate([[0], ends[:-1] + 1])
    before = np.where(begins > 0, sums[begins - 1], np.uint64(0))
    hashed: Hashes = (sums[ends] - before) * undo[begins]
    return hashed


def _windows(values: Hashes, lengths: Indices, size: int) -> Shingles:
    """Hash each run of `size` values that stays inside one text."""
    if not len(lengths):
        return Shingles(np.zeros(0, np.uint32), np.zeros(1, np.int64))
    ends = np.cumsum(lengths)
    mixed = np.zeros(len(values) - size + 1, np.uint64)
    for offset in range(size):
        mixed = _mix(mixed + values[offset : offset + len(mixed)])
    inside = np.ones(len(values), bool)
    for offset in range(1, size):
        inside[ends - offset] = False
    hashed = mixed[inside[: len(mixed)]]
    return _distinct(hashed, np.repeat(np.arange(len(lengths)), lengths - size + 1), len(lengths))


def _distinct(hashed: Hashes, owner: Indices, texts: int) -> Shingles:
    """Return each text's shingles once, in order: the upper half of a hash is its token."""
    packed = np.sort((owner.astype(np.uint64) << np.uint64(32)) | (hashed >> np.uint64(32)))
    first = np.ones(len(packed), bool)
    first[1:] = packed[1:] != packed[:-1]
    packed = packed[first]
    counts = np.bincount((packed >> np.uint64(32)).astype(np.int64), minlength=texts)
    return Shingles(packed.astype(np.uint32), np.concatenate([[0], np.cumsum(counts)]))


def _joined(parts: Sequence[Shingles]) -> Shingles:
    if not parts:
        return Shingles(np.zeros(0, np.uint32), np.zeros(1, np.int64))
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    tokens = np.concatenate([part.tokens for part in parts])
    return Shingles(tokens, np.concatenate([[0], np.cumsum(counts)]))


def _mix(value: Hashes) -> Hashes:
    """Mix as the finaliser of splitmix64 does: every input bit reaches every output bit."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def without_common(texts: Shingles) -> Shingles:
    """Leave out the shingles that many texts share."""
    size = len(texts.starts) - 1
    # Counted by 24 bits of the token: two share a count once in 16 million.
    slots = texts.tokens >> np.uint32(8)
    counts = np.bincount(slots, minlength=1) if len(slots) else np.zeros(1, np.int64)
    rare = counts[slots] <= max(COMMON_TEXTS, COMMON_SHARE * size)
    kept = np.concatenate([[0], np.cumsum(rare)])
    return Shingles(texts.tokens[rare], kept[texts.starts])


def join(root: Indices, rows: Indices, texts: Shingles, at_least: float) -> None:
    """Connect the similar ones among some of the texts; `rows` are their indices in `root`."""
    sizes = np.diff(texts.starts)
    full = np.flatnonzero(sizes > 0)
    if len(full) < 2:
        return
    random = np.random.default_rng(SEED)
    odd = random.integers(0, 2**32, (BANDS, BAND_ROWS), dtype=np.uint32) | np.uint32(1)
    starts = texts.starts[full]
    for factors in odd:
        bucket = np.zeros(len(full), np.uint64)
        for factor in factors:
            bucket = _mix(bucket + np.minimum.reduceat(texts.tokens * factor, starts))
        one, other = (full[places] for places in _meetings(bucket))
        apart = root[rows[one]] != root[rows[other]]
        one, other = one[apart], other[apart]
        alike = overlaps(texts, one, other) >= at_least
        connect(root, rows[one[alike]], rows[other[alike]])


def _meetings(bucket: Hashes) -> tuple[Indices, Indices]:
    """Return the pairs to compare: each with the first of its bucket and the next ones there."""
    order = np.argsort(bucket, kind="stable")
    ranked = bucket[order]
    begins = np.ones(len(ranked), bool)
    begins[1:] = ranked[1:] != ranked[:-1]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(ranked)), 0))
    others = np.flatnonzero(~begins)
    pairs = [(order[first[others]], order[others])]
    for distance in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(ranked[distance:] == ranked[:-distance])
        inner = same[~begins[same]]  # the first was compared already
        pairs.append((order[inner], order[inner + distance]))
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def overlaps(texts: Shingles, one: Indices, other: Indices) -> npt.NDArray[np.float64]:
    """Return the exact Jaccard similarity of each pair."""
    found = [np.zeros(0)]
    sizes = np.diff(texts.starts)
    for begin in range(0, len(one), PAIRS_AT_ONCE):
        left, right = one[begin : begin + PAIRS_AT_ONCE], other[begin : begin + PAIRS_AT_ONCE]
        packed = np.sort(np.concatenate([_tagged(texts, side) for side in (left, right)]))
        twice = packed[1:][packed[1:] == packed[:-1]]
        shared = np.bincount((twice >> np.uint64(32)).astype(np.int64), minlength=len(left))
        found.append(shared / (sizes[left] + sizes[right] - shared))
    return np.concatenate(found)


def _tagged(texts: Shingles, chosen: Indices) -> Hashes:
    """Return the shingles of the chosen texts, each with its place among them in the upper half."""
    sizes = texts.starts[chosen + 1] - texts.starts[chosen]
    place = np.repeat(np.arange(len(chosen)), sizes)
    within = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    tokens = texts.tokens[texts.starts[chosen][place] + within].astype(np.uint64)
    tagged: Hashes = (place.astype(np.uint64) << np.uint64(32)) | tokens
    return tagged


def connect(root: Indices, one: Indices, other: Indices) -> None:
    """Join the clusters of each pair; a cluster is named after its smallest member."""
    while True:
        low = np.minimum(root[one], root[other])
        high = np.maximum(root[one], root[other])
        if (low == high).all():
            return
        np.minimum.at(root, high, low)
        while (root != root[root]).any():
            root[:] = root[root]
