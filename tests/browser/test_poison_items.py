"""In a real browser: an item that cannot be shown, or hardly, is skipped with the keyboard."""

from __future__ import annotations

from pathlib import Path

from schemas.base import Message
from services.review import rendering
from shared.rules.content import store_content
from shared.storage.blobs import BlobStore
from tests import factories
from tests.browser.test_review_page import press, sign_in
from tests.unit.review.harness import Review

EXTRACTION = factories.spec(
    task="extraction", labels=(), output_schema={"type": "object"}, review={"rate": 1.0}
)
LONG = "<b>bold</b> " + "x" * 2_000_000


def stored(review: Review, text: str, answer: str):
    blobs = BlobStore(review.service.settings.artifacts_url)
    ref = store_content(blobs, (Message(role="user", content=text),), answer)
    return factories.inference(messages=(), answer="", content=ref), ref


async def test_a_missing_blob_is_said_and_s_leads_to_the_next_item(
    served: tuple[Review, str], browser, tmp_path: Path
) -> None:
    review, url = served
    page = await browser.new_page()
    await sign_in(page, url, review.keys["acme"])
    poison, ref = stored(review, "gone", "{}")
    Path(ref.uri.removeprefix("file://")).unlink()
    await review.hears(
        factories.route_changed(spec=EXTRACTION), poison, factories.inference(answer="{}")
    )
    await page.goto(f"{url}/review")
    assert "missing from the artifacts store" in await page.inner_text("[data-trouble]")
    await page.screenshot(path=tmp_path / "missing.png")
    await press(page, "s")
    assert await page.inner_text(".answer .body") == "{}"
    assert await page.inner_text("[data-status]") == "Skipped"
    await press(page, "a")
    # The poison is all that is left, and does not come back at once.
    assert await page.locator("[data-item]").count() == 0
    assert "content cannot be shown" in await page.inner_text("main")
    await page.screenshot(path=tmp_path / "empty.png")


async def test_bombs_are_cut_and_skipped(
    served: tuple[Review, str], browser, tmp_path: Path
) -> None:
    review, url = served
    page = await browser.new_page()
    await sign_in(page, url, review.keys["acme"])
    bombs = ("[" * 100_000, LONG, "\u202e" * 1_000_000)
    await review.hears(
        factories.route_changed(spec=EXTRACTION),
        *(stored(review, bomb, bomb)[0] for bomb in bombs),
        factories.inference(answer="{}"),
    )
    await page.goto(f"{url}/review")
    for number in range(len(bombs)):
        assert "Cut here" in await page.inner_text(".answer")
        await page.screenshot(path=tmp_path / f"bomb-{number}.png")
        async with page.expect_download() as download:
            await page.click(".answer [download]")
        assert (await download.value).suggested_filename.endswith(".json")
        await press(page, "s")
    assert await page.inner_text(".answer .body") == "{}"


async def test_a_page_part_that_fails_is_skipped(
    served: tuple[Review, str], browser, monkeypatch
) -> None:
    review, url = served
    page = await browser.new_page()
    await sign_in(page, url, review.keys["acme"])
    await review.hears(
        factories.route_changed(spec=EXTRACTION),
        factories.inference(answer="{}"),
        factories.inference(answer="{}"),
    )
    get = rendering.TEMPLATES.get_template
    broken = rendering.TEMPLATES.from_string("{{ nobody_knows }}")
    with monkeypatch.context() as patched:
        patched.setattr(
            rendering.TEMPLATES,
            "get_template",
            lambda name, *more: broken if name == "work.html" else get(name, *more),
        )
        await page.goto(f"{url}/review")
        assert "UndefinedError" in await page.inner_text("[data-trouble]")
    await press(page, "s")
    assert await page.inner_text(".answer .body") == "{}"
