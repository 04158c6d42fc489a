"""Who is trained on and who is evaluated on, for ever."""

from collections import Counter

from services.dataset_builder.curate import curate
from services.dataset_builder.split import split
from tests.unit.dataset_builder.corpus import messages, route, row


def parts_of(rows, **changes):
    curated = curate(rows, route(**changes))
    return split(curated.training, curated.audit)


def rows(count: int, audit_every: int = 0):
    return [
        row(n, text, label, audit=bool(audit_every) and n % audit_every == 0)
        for n, (text, label) in enumerate(messages()[:count])
    ]


def home(parts) -> dict[str, str]:
    return {item.row.review_id: name for name, items in parts.items() for item in items}


def test_shares_are_near_eight_one_one() -> None:
    counts = {name: len(items) for name, items in parts_of(rows(900)).items()}
    total = sum(counts.values())
    assert abs(counts["train"] / total - 0.8) < 0.04
    assert counts["audit"] == 0
    assert min(counts["validation"], counts["test"]) > 60


def test_with_few_rows_every_label_is_trained_on() -> None:
    for count in (12, 30, 190):
        parts = parts_of(rows(count))
        trained = Counter(item.label for item in parts["train"])
        assert set(trained) == {item.label for items in parts.values() for item in items}
        assert parts["validation"]


def test_a_row_keeps_its_split_when_others_join() -> None:
    before = home(parts_of(rows(300)))
    after = home(parts_of(rows(900)))
    moved = [review for review, name in before.items() if after.get(review, name) != name]
    assert moved == []


def test_without_audit_rows_there_is_something_to_evaluate_on() -> None:
    assert parts_of(rows(20))["test"]


def test_free_text_tasks_split_too() -> None:
    free = [row(n, text, f"a summary of {text}") for n, (text, _) in enumerate(messages()[:200])]
    parts = parts_of(free, task="summarisation", labels=(), minimum_per_label=None)
    assert len(parts["train"]) < 190 and parts["validation"] and parts["test"]
