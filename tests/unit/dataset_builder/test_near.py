"""Clusters against the slow and certain way, and the detection curve against theory."""

import random
import time

import numpy as np
import pytest

from services.dataset_builder import near
from services.dataset_builder.near import BAND_ROWS, BANDS, Shingles, clusters
from tests.unit.dataset_builder.corpus import edited, jaccard, messages


def slow_clusters(texts: list[str], at_least: float) -> list[int]:
    """Written apart from the product: all pairs, over the shingles that few texts share."""
    plain = [{text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in texts]
    counts: dict[str, int] = {}
    for shingles in plain:
        for shingle in shingles:
            counts[shingle] = counts.get(shingle, 0) + 1
    most = max(near.COMMON_TEXTS, near.COMMON_SHARE * len(texts))
    rare = [{one for one in shingles if counts[one] <= most} for shingles in plain]
    root = list(range(len(texts)))
    changed = True
    while changed:
        changed = False
        for j in range(len(texts)):
            for i in range(j):
                union = rare[i] | rare[j]
                if root[i] != root[j] and len(rare[i] & rare[j]) >= at_least * len(union) > 0:
                    low, high = sorted((root[i], root[j]))
                    root = [low if name == high else name for name in root]
                    changed = True
    return root


def test_finds_the_clusters_that_the_slow_way_finds() -> None:
    rng = random.Random(3)
    base = [text.casefold() for text, _ in messages()[:120]]
    texts = [
        " ".join(text.split())
        for text in (*base, *(edited(t, rng) for t in base), *(edited(t, rng) for t in base))
    ]
    found = clusters(texts, 0.5)
    assert found == slow_clusters(texts, 0.5)
    assert len(set(found)) < 200


def test_long_texts_are_compared_by_words() -> None:
    long = " ".join(text for text, _ in messages()[:40]).casefold()
    shorter = " ".join(long.split()[:-4])
    assert clusters([long, "something else entirely", shorter], 0.5) == [0, 1, 0]


def test_words_are_hashed_alike_wherever_they_stand() -> None:
    words = [f"word{n}" for n in range(60)]
    moved = [f"other{n}" for n in range(7)] + words
    one, other = (near.by_words([" ".join(some)]).tokens for some in (words, moved))
    assert set(one.tolist()) < set(other.tolist())
    assert len(one) == 58


@pytest.mark.parametrize("length", [49, 50, 83, 84])
def test_a_pair_on_both_sides_of_the_length_limit_is_found(length: int) -> None:
    words = " ".join(text for text, _ in messages()[:40]).casefold().split()
    assert clusters([" ".join(words[:length]), " ".join(words[: length + 2])], 0.5) == [0, 0]


def test_detection_follows_the_curve() -> None:
    rng = np.random.default_rng(0)
    for shared in (16, 24, 33, 40):
        similarity = shared / (2 * 50 - shared)
        pairs = 600
        sets = []
        for _ in range(pairs):
            common = rng.integers(0, 2**32, shared, dtype=np.uint32)
            sets += [
                np.concatenate([common, rng.integers(0, 2**32, 50 - shared, dtype=np.uint32)])
                for _ in range(2)
            ]
        texts = Shingles(np.concatenate(sets), np.arange(0, 50 * (2 * pairs + 1), 50))
        root = np.arange(2 * pairs)
        near.join(root, root.copy(), texts, 0.0)
        hit = (root[::2] == root[1::2]).mean()
        assert abs(hit - (1 - (1 - similarity**BAND_ROWS) ** BANDS)) < 0.06


def test_no_text_and_tiny_texts() -> None:
    assert clusters([], 0.5) == []
    assert clusters(["a"], 0.5) == [0]
    assert clusters(["a", "b", ""], 0.5) == [0, 1, 2]


def test_what_many_share_makes_no_cluster() -> None:
    texts = [f"dear support team, please help me soon: {text}" for text, _ in messages()[:200]]
    assert jaccard(texts[0], texts[1]) > 0.2
    assert len(set(clusters(texts, 0.5))) > 150


def test_the_work_does_not_grow_with_how_many_are_alike() -> None:
    """40,000 texts of one template: a bucket holds all of them."""
    rng = random.Random(1)
    texts = [
        f"the long sentence that everybody sends about order {rng.randrange(10**9)}"
        for _ in range(40_000)
    ]
    began = time.process_time()
    clusters(texts, 0.5)
    assert time.process_time() - began < 20
