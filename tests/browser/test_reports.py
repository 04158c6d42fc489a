"""The two reports in a real browser: figures stay on their line, and no page is wider than its
window.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.demo.record import BASE, FIRST, Phase, Record, Step
from infra.demo.report import write_html
from infra.demo.traffic import AnsweredMessage
from services.evaluator.report import main
from tests.unit.evaluator.test_reports import content

# Cells whose text takes more lines than one.
BROKEN = """() => [...document.querySelectorAll("td:not(.long):not(.id)")].filter(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map(each => Math.round(each.top))).size > 1;
}).map(cell => cell.textContent)"""
TOO_WIDE = "() => document.documentElement.scrollWidth > window.innerWidth"
LABELS = (
    ("delivery", "退款申请进度查询"),
    ("refund", "استرداد_المال"),
    ("password", "a_label_whose_name_is_long_and_has_no_space_in_it_at_all"),
)


def evaluation(folder: Path) -> Path:
    said = content()
    for arm in said["arms"]:
        arm |= {
            "strata": {"repeated": 1.0, "first_seen": 0.779, "held_out": 0.676},
            "latency_p95_ms": 12_428.0,
        }
    text = json.dumps(said, ensure_ascii=False)
    for label, other in LABELS:
        text = text.replace(json.dumps(label), json.dumps(other, ensure_ascii=False))
    (folder / "content.json").write_text(text)
    main(folder / "content.json", folder / "evaluation.html")
    return folder / "evaluation.html"


def told(phase: str, at: float, arm: str) -> AnsweredMessage:
    return AnsweredMessage("id", at, phase, None, "answer", arm != "base", False, arm, "", None, 1)


def demo(folder: Path) -> Path:
    """Write the report of a story of one act, whose gate refused the first adapter."""
    phases = [
        Phase(name, [told(name, float(n), arm) for n in range(60)], 48)
        for name, arm in ((BASE, "base"), (FIRST, "champion"))
    ]
    verdicts = content()
    tried = [
        {
            "name": name,
            "verdict": "promote",
            "reasons": verdicts["reasons"],
            "arms": verdicts["arms"],
            "adapter": {"adapter_id": "acme--your-data@9c5dc9b7b1c8"},
        }
        for name in ("version 1", "version 1, try 2")
    ]
    story = SimpleNamespace(
        app=SimpleNamespace(answered=[one for phase in phases for one in phase.answered]),
        record=Record(0.0, 0.1, phases, steps=[Step("traffic", 12.5)], evaluations=tried),
        reviewers=SimpleNamespace(done=48, corrected=30, rejected=0, erred=2),
        data=SimpleNamespace(spec=SimpleNamespace(name="acme/your-data")),
    )
    write_html(folder / "demo.html", story, "answer\n└── " + "wide " * 40, 61.0, "2 cores")
    return folder / "demo.html"


@pytest.mark.parametrize("write", [evaluation, demo])
async def test_figures_stay_on_their_line(write, browser, tmp_path: Path) -> None:
    page = await browser.new_page()
    await page.goto(f"file://{write(tmp_path)}")
    for width in (1200, 400):
        for scheme in ("light", "dark"):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme=scheme)
            assert await page.evaluate(BROKEN) == []
            assert not await page.evaluate(TOO_WIDE)
    await page.emulate_media(media="print")
    await page.set_viewport_size({"width": 718, "height": 1000})
    assert await page.evaluate(BROKEN) == []
    assert not await page.evaluate(TOO_WIDE)


@pytest.mark.parametrize("write", [evaluation, demo])
async def test_without_the_rule_they_break(write, browser, tmp_path: Path) -> None:
    """The control."""
    page = await browser.new_page()
    await page.goto(f"file://{write(tmp_path)}")
    await page.set_viewport_size({"width": 400, "height": 900})
    await page.add_style_tag(content="td { white-space: normal !important }")
    assert await page.evaluate(BROKEN)


async def test_a_second_try_is_not_called_a_second_version(browser, tmp_path: Path) -> None:
    page = await browser.new_page()
    await page.goto(f"file://{demo(tmp_path)}")
    titles = await page.locator("h3").all_inner_texts()
    assert [title.split(":")[0] for title in titles] == ["Version 1", "Version 1, try 2"]


async def test_labels_of_a_matrix_stand_on_no_head(browser, tmp_path: Path) -> None:
    page = await browser.new_page()
    await page.goto(f"file://{evaluation(tmp_path)}")
    up = page.locator("th.up").first
    assert await up.evaluate("cell => getComputedStyle(cell).textOrientation") == "sideways"
