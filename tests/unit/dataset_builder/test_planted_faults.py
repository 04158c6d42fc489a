"""Planted duplicates, contradictions and leaks are found, to the bars of docs/methods.md; without
curation they are not.
"""

import pytest

from services.dataset_builder.curate import curate
from services.dataset_builder.prepare import usable
from services.dataset_builder.split import split
from tests.unit.dataset_builder import corpus


@pytest.fixture(scope="module")
def plan() -> corpus.Planted:
    return corpus.planted()


def test_planted_faults_are_found_and_the_innocent_spared(plan: corpus.Planted) -> None:
    curated = curate(plan.rows, corpus.route())
    score = corpus.score(plan, curated.training)
    assert score.good_enough(), score
    assert {len(pairs) >= 15 for pairs in plan.pairs.values()} == {True}


def test_without_curation_the_same_check_fails(plan: corpus.Planted) -> None:
    items = usable(plan.rows, corpus.route()).candidates
    score = corpus.score(plan, [item for item in items if not item.row.audit])
    assert not score.good_enough()
    assert (score.exact, score.near, score.contradiction, score.leak) == (0, 0, 0, 0)


def test_no_pair_across_splits_is_similar(plan: corpus.Planted) -> None:
    curated = curate(plan.rows, corpus.route())
    assert corpus.leaking_pairs(split(curated.training, curated.audit)) == []


def test_a_random_split_of_uncurated_rows_leaks(plan: corpus.Planted) -> None:
    items = usable(plan.rows, corpus.route()).candidates
    parts = {"train": items[::2], "test": items[1::2]}
    assert len(corpus.leaking_pairs(parts)) > 20
