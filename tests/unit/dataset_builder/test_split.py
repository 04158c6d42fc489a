"""Who is trained on and who is evaluated on, for ever."""

from collections import Counter

from services.dataset_builder.curate import curate
from services.dataset_builder.split import split, strata
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
    parts = parts_of(free, task="format", labels=(), minimum_per_label=None)
    assert len(parts["train"]) < 190 and parts["validation"] and parts["test"]


def test_frequent_questions_are_learned() -> None:
    texts = messages()[:300]
    often = [row(1000 + n, texts[n % 30][0], texts[n % 30][1]) for n in range(30 * 5)]
    parts = parts_of(rows(300) + often)
    trained = {item.question.text for item in parts["train"]}
    assert {curate([one], route()).training[0].question.text for one in often} <= trained
    assert parts["test"]


def test_a_question_that_was_trained_on_is_never_tested_on() -> None:
    curated = curate(rows(300), route())
    before = split(curated.training, curated.audit)
    tested = before["test"]
    assert len(tested) > 10
    seen = {item.question.key for item in tested}
    after = split(curated.training, curated.audit, seen)
    moved = {home(after)[item.row.review_id] for item in tested}
    assert moved <= {"train", "test"}, "one may be lent, so that there is something to test on"
    assert sum(home(after)[item.row.review_id] == "train" for item in tested) >= len(tested) - 1


def test_audit_rows_tell_whether_their_question_is_trained_on() -> None:
    curated = curate(rows(300, audit_every=10), route())
    parts = split(curated.training, curated.audit)
    assert strata(parts) == {"repeated": 0, "first_seen": 30}
    asked_again = [
        row(5000 + n, text, label, asked_us=10**15)
        for n, (text, label) in enumerate(messages()[:300:10])
    ]
    curated = curate(rows(300, audit_every=10) + asked_again, route())
    parts = split(curated.training, curated.audit)
    repeated = strata(parts)["repeated"]
    assert 20 <= repeated < 30
    # What is validated on is known from the version before, and no reason to call it repeated.
    trained = {item.question.key for name in ("train", "validation") for item in parts[name]}
    assert strata(split(curated.training, curated.audit, trained))["repeated"] == repeated


def test_audit_rows_tell_what_only_the_version_before_was_trained_on() -> None:
    """Its verdict was taken back: the champion knows the question, and the challenger does not."""
    curated = curate(rows(300, audit_every=10), route())
    known = {item.question.key for item in curated.audit[:12]}
    assert strata(split(curated.training, curated.audit, known)) == {
        "repeated": 12,
        "first_seen": 18,
    }
