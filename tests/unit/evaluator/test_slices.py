"""An adapter that is better on the whole is refused where it is proven worse on a slice that the
route names; values beyond the most frequent are said, and not compared.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.base import Confidence
from services.evaluator.findings import judge
from services.evaluator.gates import Outcomes, Terms, judge_challenger
from services.evaluator.groups import MOST_VALUES, Group, compare_groups, proven_losses
from services.evaluator.heldout import Contender, HeldOutRow, mark, read_held_out
from shared.rules import Completion
from tests import factories

N = 500
COUNTRIES = ["DE"] * 50 + ["US"] * 450
# Right in 45 of the 50 German rows, and in 380 of the others.
THEIRS = [True] * 45 + [False] * 5 + [True] * 380 + [False] * 70
# Wrong in 15 German rows more, and in 50 fewer of the others.
OURS = [True] * 30 + [False] * 20 + [True] * 430 + [False] * 20


def arm(name: str, correct: list[bool]) -> Outcomes:
    return Outcomes(name, correct, [True] * len(correct))


def decided(slices: dict[str, list[str]]) -> tuple[bool, str]:
    others = [arm("base", [False] * N), arm("champion", THEIRS)]
    found = judge_challenger(arm("challenger", OURS), others, Terms(0.05, slices=slices))
    return found.promote, "\n".join(found.reasons)


def test_a_slice_that_loses_is_no_improvement() -> None:
    promoted, why = decided({"country": COUNTRIES})
    assert not promoted
    assert "slice 'country=DE' loses against champion: 15 of 50 rows lost, 0 won" in why
    assert decided({})[0]  # negative control


def test_values_beyond_the_most_frequent_are_said_and_not_compared() -> None:
    """A key that names users has a value for each; one that nobody sends has none."""
    users = [f"u{i % 300}" for i in range(N)]
    promoted, why = decided({"user": users, "version": [""] * N})
    assert promoted
    assert f"slice 'user' has 300 values: the {MOST_VALUES} most frequent are compared" in why
    assert "slice 'version' is untested: no audited row has a value of it" in why
    groups = compare_groups([], {"user": users}, OURS, THEIRS)
    assert len(groups) == MOST_VALUES and {group.finding for group in groups} == {"untested"}
    assert f"on {MOST_VALUES} of {MOST_VALUES} slices" in why


def lost(key: str, value: str, p: dict[Group, float]) -> bool:
    return Group("slice", key, value) in proven_losses(p)


def test_labels_and_each_key_share_one_level() -> None:
    """A key with many values takes nothing from the others. What is proven hands its share on."""
    german = {Group("slice", "country", "DE"): 0.02}
    assert lost("country", "DE", german)
    users = {Group("slice", "user", f"u{i}"): 0.5 for i in range(20)}
    assert lost("country", "DE", german | users)
    labels = {Group("label", "", f"l{i}"): 0.5 for i in range(20)}
    assert not lost("country", "DE", german | users | labels)
    proven = dict.fromkeys(labels, 1e-9)
    assert lost("country", "DE", german | users | proven)


def test_no_loss_is_looked_for_where_the_arms_hardly_differ() -> None:
    """Five of five would be proof alone (p = .03); the level is for groups that have more."""
    ours, theirs = [False] * 5 + [True] * 95, [True] * 100
    (found,) = compare_groups([], {"k": ["v"] * 100}, ours, theirs)
    assert (found.losses, found.finding) == (5, "kept")
    (found,) = compare_groups([], {"k": ["v"] * 100}, [False, *ours[:-1]], theirs)
    assert (found.losses, found.finding) == (6, "harmed")


def test_slices_are_read_from_the_dataset_and_decide(tmp_path: Path) -> None:
    """Datasets from before have no such column, and rows no value."""
    spec = factories.spec(slices=("country",))
    table = {
        "row_id": [str(i) for i in range(N)],
        "answer": ["delivery"] * N,
        "messages": [json.dumps([{"role": "user", "content": f"m{i}"}]) for i in range(N)],
    }
    told = [json.dumps({"country": country}) for country in COUNTRIES[:-1]] + [None]
    for columns, promotes in ((table, True), (table | {"slices": told}, False)):
        pq.write_table(pa.table(columns), tmp_path / "audit.parquet")
        rows = read_held_out(tmp_path)
        assert {row.slices.get("country") for row in rows} <= {"DE", "US", None}
        arms = [
            mark(Contender(name, adapter_id), rows, [said(right) for right in correct], spec)
            for name, adapter_id, correct in (
                ("base", None, [False] * N),
                ("champion", "old", THEIRS),
                ("challenger", "new", OURS),
            )
        ]
        assert judge(rows, arms, spec, alpha=0.05).gate.promote is promotes


def said(right: bool) -> Completion:
    sure = Confidence(score=0.9, min_logprob=-0.1, first_margin=1.0, tokens=1)
    return Completion("delivery" if right else "refund", sure, -0.1, 1.0)


def test_rows_without_a_value_are_in_no_slice() -> None:
    rows = HeldOutRow("1", "audit", factories.USER, "delivery")
    assert rows.slices == {}
    assert compare_groups([], {"country": ["", ""]}, [True, True], [True, False]) == ()
