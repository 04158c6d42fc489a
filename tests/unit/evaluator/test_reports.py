"""The real children: both reports come out self-contained, and nothing a user wrote becomes
markup.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from schemas.base import Confidence
from services.evaluator.adapters.reports import ChildReports
from services.evaluator.findings import judge, report_rows
from services.evaluator.heldout import Contender, HeldOutRow, mark
from shared.rules import Completion
from shared.storage.blobs import BlobStore
from tests import factories

CHALLENGER = factories.adapter().adapter_id
# What older rules left in a dataset, and what a model says that has read it.
ASKER = "ann@asks.example"
LEARNED = "bob@learned.example"


def content(n: int = 60) -> dict:
    spec = factories.spec(slices=("country",))
    rng = np.random.default_rng(1)
    rows = [HeldOutRow(f"r{i}", "audit", factories.USER[:1], spec.labels[i % 3]) for i in range(n)]
    hostile = factories.USER[0].model_copy(
        update={"content": f"<img src=x onerror=alert(1)> where is it, {ASKER}"}
    )
    country = {"country": "<b>DE</b>"}
    rows = [
        HeldOutRow(row.row_id, row.split, (hostile,), row.answer, slices=country) for row in rows
    ]

    def replies(right: float) -> list[Completion]:
        answers = [
            row.answer if rng.random() < right else f"</td><script>1</script>{LEARNED}"
            for row in rows
        ]
        return [
            Completion(
                answer,
                Confidence(score=rng.beta(8, 1), min_logprob=-0.1, first_margin=1, tokens=1),
                -0.1,
                20 + rng.random(),
            )
            for answer in answers
        ]

    answered = [
        mark(Contender("base"), rows, replies(0.3), spec),
        mark(Contender("challenger", CHALLENGER), rows, replies(0.8), spec),
    ]
    found = judge(rows, answered, spec, alpha=0.02)
    return {
        "evaluation_id": "e1",
        "route": factories.ROUTE,
        "adapter_id": CHALLENGER,
        "dataset_id": "d",
        "base_model": "m",
        "recipe": "tiny-cpu",
        "task": spec.task,
        "free_text": False,
        "max_risk": 0.1,
        "promote": found.gate.promote,
        "reasons": list(found.gate.reasons),
        "rows": report_rows(rows, answered, spec),
        "tests": [test.model_dump() for test in found.gate.tests],
        "groups": [group.model_dump() for group in found.gate.groups],
        "rows_for_five_points": found.gate.rows_for_five_points,
        "attempt": 1,
        "alpha": 0.02,
        "alpha_left": 0.03,
        "guarantee": "strict",
        "target": 0.0,
        "arms": [arm.model_dump() for arm in found.arms],
        "calibrations": [
            {"adapter_id": one.adapter_id, "behind": one.behind} | vars(one.calibration)
            for one in found.calibrations
        ],
    }


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(f"file://{tmp_path}/artifacts")


async def test_evaluation_report_says_what_was_decided_and_escapes_every_text(
    blobs: BlobStore,
) -> None:
    html = blobs.get_bytes(await ChildReports(blobs).evaluation(content())).decode()
    assert (
        "What was decided, and why" in html
        and "better than base" in html
        and "Confusion matrix" in html
        and "Training buys" in html
        and "Attempt 1 of this route, at a level of 2 %" in html
        and "challenger behind" not in html
        and "base behind challenger" in html
        and "loss ruled out from" in html
        and "Per slice" in html
        and "rows that the base gets wrong it mends" in html
        and "gain, points (95 %)" in html
        and "Right before, and wrong now" in html
        and "country=&lt;b&gt;DE" in html
    )
    assert "<script" not in html and "<img src=x" not in html and "&lt;img src=x" in html
    assert ASKER not in html and LEARNED not in html and html.count("[EMAIL]") > 1
    assert html.count("data:image/svg+xml;base64,") == 4
    assert not re.search(r"(src|href)=\"(?!data:)", html)


def texts() -> dict:
    """What is reported of an adapter that people judged."""
    hostile = "<script>1</script> a summary"
    rows = [
        {
            "row_id": f"r{n}",
            "decides": True,
            "text": "<img src=x onerror=alert(1)> a long text",
            "answers": {"base": hostile, "challenger": f"{hostile} of it"},
            "people": ("better", "worse", "no better", "")[n % 4],
        }
        for n in range(60)
    ]
    arm = {
        "n": 60,
        "accuracy": 0.0,
        "macro_f1": 0.61,
        "chrf": 0.58,
        "format_compliance": 1.0,
        "latency_p50_ms": 1.0,
        "latency_p95_ms": 2.0,
        "strata": {},
    }
    return content() | {
        "free_text": True,
        "task": "summarisation",
        "rows": rows,
        "arms": [
            {"arm": "base", "adapter_id": None} | arm,
            {"arm": "challenger", "adapter_id": CHALLENGER} | arm,
        ],
        "calibrations": [],
        "groups": [],
        "tests": [
            {
                "against": "base",
                "wins": 21,
                "losses": 5,
                "p_value": 0.004,
                "alpha": 0.03,
                "passed": True,
                "ties": 3,
                "neither": 1,
            }
        ],
    }


async def test_a_report_of_free_text_says_what_people_found(blobs: BlobStore) -> None:
    html = blobs.get_bytes(await ChildReports(blobs).evaluation(texts())).decode()
    assert (
        "better in 21 pairs" in html
        and "It wins between 51 and 97 of 100 decided pairs" in html
        and "The adapter was better" in html
        and "The adapter was worse" in html
        and "chrF" in html
        and "Confusion" not in html
        and "makes no mistake" not in html
    )
    assert "<script" not in html and "<img src=x" not in html and "&lt;img src=x" in html
    assert html.count("data:image/svg+xml;base64,") == 1
    nobody = texts() | {"tests": []}
    assert "What people found" not in (
        blobs.get_bytes(await ChildReports(blobs).evaluation(nobody)).decode()
    )


async def test_report_without_rows_is_still_a_report(blobs: BlobStore) -> None:
    empty = content() | {
        "rows": [],
        "arms": [],
        "tests": [],
        "calibrations": [],
        "promote": False,
        "reasons": ["rejected: no held-out rows"],
    }
    assert (
        "no held-out rows" in blobs.get_bytes(await ChildReports(blobs).evaluation(empty)).decode()
    )


async def test_evidently_draws_the_window_against_the_reference(blobs: BlobStore) -> None:
    rng = np.random.default_rng(2)

    def rows(n: int, low: float) -> list[dict]:
        return [
            {
                "confidence": float(rng.uniform(low, 1)),
                "words": int(rng.poisson(12)),
                "label": str(rng.choice(["a", "b"])),
                "outcome": "confident",
            }
            for _ in range(n)
        ]

    html = blobs.get_bytes(
        await ChildReports(blobs).drift({"reference": rows(100, 0.8), "current": rows(50, 0.2)})
    ).decode()
    assert "confidence" in html and len(html) > 100_000


async def test_a_child_that_dies_leaves_the_report_out(blobs: BlobStore) -> None:
    assert await ChildReports(blobs).evaluation({"rows": []}) is None
