"""A filter that takes most of the verdicts says so."""

import pytest

from services.dataset_builder.assemble import TooMuchLost, Verdicts, refuse_if_unfit
from services.dataset_builder.curate import curate
from services.dataset_builder.losses import excess
from tests.unit.dataset_builder.corpus import assembled, labelled, messages, row

SPEC = labelled(["yes", "no"]).model_copy(update={"minimum_per_label": 1})


def contested(number: int, of: int):
    """`of` questions with an agreed answer, the first `number` of them contradicted once."""
    texts = [text for text, _ in messages()[:of]]
    agreed = [row(n, text, ("yes", "no")[n % 2]) for n, text in enumerate(texts)]
    others = [row(of + n, text, ("no", "yes")[n % 2]) for n, text in enumerate(texts[:number])]
    return agreed + others


def test_over_three_tenths_are_refused_with_the_largest_clusters() -> None:
    rows = contested(60, 200) + [row(900 + n, messages()[0][0], "yes") for n in range(3)]
    rows += [row(950 + n, messages()[0][0], "no") for n in range(3)]
    found = excess(curate(rows, SPEC))
    assert (found.reason, found.taken, found.of) == ("ambiguous", 120, 260)
    largest = found.clusters[0]
    assert (largest["verdicts"], largest["answers"]) == (8, {"yes": 4, "no": 4})
    assert len(found.clusters) == 3
    assert len(largest["pairs"]) == 5
    with pytest.raises(TooMuchLost, match=r"120 of 260 rows .*'ambiguous'.*30%.*--accept-losses"):
        assembled(rows, SPEC)
    refuse_if_unfit(Verdicts(rows, {}), curate(rows, SPEC), SPEC, accept_losses=True)


@pytest.mark.parametrize("number", [0, 9, 20])
def test_within_the_budget_nothing_is_refused(number: int) -> None:
    assert excess(curate(contested(number, 200), SPEC)) is None


def test_repeats_are_no_loss() -> None:
    rows = [row(n, messages()[n % 30][0], "yes") for n in range(3000)]
    others = messages()[200:220]
    rows += [row(300 + n, text, "no", reviewer="ana") for n, (text, _) in enumerate(others)]
