"""Planted repeats, contradictions and audited verdicts are dealt with, to the bars of
docs/methods.md; without curation they are not.
"""

import pytest

from services.dataset_builder.curate import curate
from services.dataset_builder.prepare import usable
from tests.unit.dataset_builder import corpus


@pytest.fixture(scope="module")
def plan() -> corpus.Planted:
    return corpus.planted()


def test_planted_faults_are_dealt_with_and_the_innocent_spared(plan: corpus.Planted) -> None:
    curated = curate(plan.rows, corpus.route())
    score = corpus.score(plan, curated.training)
    assert score.good_enough(), score
    assert {len(pairs) >= 12 for pairs in plan.pairs.values()} == {True}


def test_without_curation_the_same_check_fails(plan: corpus.Planted) -> None:
    items = usable(plan.rows, corpus.route()).candidates
    score = corpus.score(plan, [item for item in items if not item.row.audit])
    assert not score.good_enough()
    assert (score.repeat, score.contradiction, score.audited) == (0, 0, 0)
