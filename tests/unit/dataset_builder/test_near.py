"""Near-duplicate search against the slow and certain way, and its detection curve against
theory.
"""

import random

import numpy as np
from rensa import RMinHash

from services.dataset_builder.near import (
    BAND_ROWS,
    BANDS,
    PERMUTATIONS,
    SEED,
    colliding_pairs,
    similar_pairs,
)
from tests.unit.dataset_builder.corpus import edited, jaccard, messages


def test_finds_every_pair_the_slow_way_finds() -> None:
    rng = random.Random(3)
    base = [text.casefold() for text, _ in messages()[:120]]
    texts = [
        " ".join(text.split())
        for text in (
            *base,
            *(edited(text, rng) for text in base),
            *(edited(text, rng) for text in base),
        )
    ]
    plain = [{text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in texts]
    slow = {
        (i, j)
        for j in range(len(texts))
        for i in range(j)
        if len(plain[i] & plain[j]) >= 0.6 * len(plain[i] | plain[j])
    }
    found = similar_pairs(texts, 0.6)
    assert set(found) == slow
    assert len(slow) > 100
    assert all(
        abs(overlap - len(plain[i] & plain[j]) / len(plain[i] | plain[j])) < 1e-9
        for (i, j), overlap in found.items()
    )


def test_long_texts_are_compared_by_words() -> None:
    long = " ".join(text for text, _ in messages()[:40]).casefold()
    shorter = " ".join(long.split()[:-4])
    assert similar_pairs([long, "something else entirely", shorter], 0.6).keys() == {(0, 2)}


def test_a_pair_on_both_sides_of_the_length_limit_is_found() -> None:
    words = " ".join(text for text, _ in messages()[:40]).casefold().split()
    for length in (49, 50, 83, 84):
        assert similar_pairs([" ".join(words[:length]), " ".join(words[: length + 2])], 0.6), length


def test_detection_follows_the_curve() -> None:
    rng = np.random.default_rng(0)
    for shared in (12, 20, 30, 40):
        similarity = shared / (2 * 50 - shared)
        pairs = 600
        sets = []
        for _ in range(pairs):
            common = rng.integers(0, 2**63, shared, dtype=np.uint64)
            sets += [
                np.concatenate([common, rng.integers(0, 2**63, 50 - shared, dtype=np.uint64)])
                for _ in range(2)
            ]
        starts = np.arange(0, 50 * (2 * pairs + 1), 50, dtype=np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            np.concatenate(sets), starts, PERMUTATIONS, SEED
        )
        first, second = colliding_pairs(np.array(matrix.to_rows(), np.uint32))
        hit = np.isin(np.arange(0, 2 * pairs, 2), first[second == first + 1]).mean()
        assert abs(hit - (1 - (1 - similarity**BAND_ROWS) ** BANDS)) < 0.05


def test_no_text_and_tiny_texts() -> None:
    assert similar_pairs([], 0.6) == {}
    assert similar_pairs(["a"], 0.6) == {}
    assert similar_pairs(["a", "b", ""], 0.6) == {}


def test_a_crowded_bucket_stays_connected() -> None:
    texts = [
        "the very same long boilerplate sentence that everybody sends to support, with variant"
        f" {chr(97 + n % 26)}{chr(97 + n // 26)}"
        for n in range(400)
    ]
    pairs = similar_pairs(texts, 0.6)
    assert len(pairs) < 400 * 399 / 2  # not quadratic
    assert jaccard(texts[0], texts[-1]) > 0.6
    reached = {0}
    frontier = [0]
    neighbours: dict[int, set[int]] = {}
    for one, other in pairs:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    while frontier:
        frontier = list(set().union(*(neighbours[n] for n in frontier)) - reached)
        reached |= set(frontier)
    assert len(reached) == 400
