"""What a dataset says of itself before it is trained on."""

import random

from services.dataset_builder.curate import curate
from services.dataset_builder.noise import doubtful
from services.dataset_builder.reports import balance, bias, length_outliers, one_sided, script
from tests.unit.dataset_builder.corpus import labelled, messages, route, row


def trained(rows, spec=None):
    return curate(rows, spec or route()).training


def bundled(count: int = 640, **changes):
    return [row(n, text, label, **changes) for n, (text, label) in enumerate(messages()[:count])]


def test_planted_wrong_labels_lead_the_list_of_doubt() -> None:
    rng = random.Random(5)
    labels = sorted({label for _, label in messages()})
    rows = bundled()
    wrong = set(rng.sample(range(len(rows)), 30))
    planted = [
        row(n, messages()[n][0], rng.choice([one for one in labels if one != rows[n].answer]))
        if n in wrong
        else rows[n]
        for n in range(len(rows))
    ]
    listed = [int(one["review_id"][-7:]) for one in doubtful(trained(planted))]
    # by chance 3 of the first 60 would be
    assert len(set(listed[:60]) & wrong) >= 16


def test_right_labels_are_hardly_doubted() -> None:
    """The control: nobody planted anything."""
    assert len(doubtful(trained(bundled()))) < 0.08 * 640


def test_one_label_gives_no_doubt() -> None:
    assert doubtful(trained([row(1, "hello there", "yes")], labelled(["yes", "no"]))) == []


def test_rare_labels_are_named_and_live_shares_undo_the_sampling() -> None:
    """Of the traffic 1 % is fraud; of it all is reviewed, of the rest a tenth."""
    texts = [text for text, _ in messages()]
    rows = [row(n, text, "ok", probability=0.1) for n, text in enumerate(texts[:500])]
    rows += [row(900 + n, text, "fraud", probability=1.0) for n, text in enumerate(texts[500:510])]
    training = trained(rows, labelled(["ok", "fraud"]))
    found = balance(training, training)
    assert found["rare"] == ["fraud"]
    assert found["labels"]["fraud"]["share"] > 0.019
    assert found["labels"]["fraud"]["live_share"] == round(10 / 5010, 4)
    assert found["largest_to_smallest"] == 50.0


def test_outliers_are_named() -> None:
    rows = [row(n, text, label) for n, (text, label) in enumerate(messages()[:50])]
    rows.append(row(99, "far too long " * 2000, "refund"))
    assert length_outliers(trained(rows))["review_ids"] == ["review-0000099"]
    assert length_outliers(trained(rows[:7])) == {"count": 0, "review_ids": []}


def test_corrections_are_told_by_script_length_and_source() -> None:
    rows = bundled(20, label_source="approved", reason="audit")
    rows += [
        row(50 + n, text, "refund", label_source="corrected", reason="drift")
        for n, text in enumerate(("我要退款", "返金してください", "أريد استرداد المال"))
    ]
    found = bias(trained(rows))
    assert found["script"]["latin"] == {"rows": 20, "corrected": 0.0}
    assert {"cjk", "hiragana", "arabic"} <= found["script"].keys()
    assert found["source"] == {
        "audit": {"rows": 20, "corrected": 0.0},
        "drift": {"rows": 3, "corrected": 1.0},
    }
    assert sum(one["rows"] for one in found["length"].values()) == 23
    assert script("1234 !?") == "none"


def test_one_reviewer_behind_most_rows_is_named() -> None:
    assert one_sided(trained(bundled(30, reviewer="eve"))) == ["eve"]
    assert one_sided(trained(bundled(30))) == []
