"""A reviewer works through the queue with the keyboard in a real browser; hostile text stays
text.
"""

from __future__ import annotations

import pytest

from schemas.base import Message
from tests import factories
from tests.unit.review.harness import Review

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    '"><svg onload=window.hacked=3>',
    "</textarea></main><iframe srcdoc='<script>parent.hacked = 4</script>'></iframe>",
    "{{ 7 * 7 }} {% raw %} javascript:window.hacked=5 &lt;b&gt;",
)


def asked(text: str, **changes: object):
    return factories.inference(messages=(Message(role="user", content=text),), **changes)


async def sign_in(page, url: str, key: str) -> None:
    await page.goto(url)
    assert page.url == f"{url}/login"
    await page.fill("#key", key)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{url}/queue")


async def press(page, key: str) -> None:
    """A key that decides the item, once the page listens again; then wait for what comes next."""
    before = await page.get_attribute("main", "data-item")
    await page.wait_for_timeout(300)
    await page.keyboard.press(key)
    await page.wait_for_function(
        "before => document.querySelector('main').dataset.item !== before", arg=before
    )


async def test_a_reviewer_decides_item_after_item_with_the_keyboard(
    served: tuple[Review, str], browser
) -> None:
    review, url = served
    page = await browser.new_page()
    await sign_in(page, url, review.keys["acme"])
    assert "Nothing to review" in await page.inner_text("main")
    texts = [f"message {number}" for number in range(5)]
    route = factories.route_changed(spec=factories.spec(review={"rate": 1.0}))
    await review.hears(
        route, *(asked(text) for text in texts), asked("odd", answer="no label at all")
    )
    await page.reload()
    assert "6 answers to review" in await page.inner_text("h1")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[data-item]")
    assert "message 0" in await page.inner_text(".work") and "delivery" in await page.inner_text(
        ".answer"
    )
    for key in ("a", "2", "r"):  # approve; correct to the second label; unusable
        await press(page, key)
    assert (
        await page.inner_text("[data-done]") == "3" and await page.inner_text("[data-left]") == "3"
    )
    assert await page.inner_text("[data-status]") == "Saved: rejected"
    await page.wait_for_timeout(300)
    await page.keyboard.press("c")
    await page.keyboard.type("pass")
    await press(page, "Enter")
    await press(page, "s")  # message 4 comes back at the end
    assert await page.is_disabled("[data-key=a]") and "cannot be approved" in await page.inner_text(
        ".verdict"
    )
    await press(page, "3")
    assert "message 4" in await page.inner_text(".work")
    await press(page, "a")
    assert "All done" in await page.inner_text(
        "main"
    ) and "What fills the queue" in await page.inner_text("main")
    said = [
        (event.verdict, event.answer, event.messages[0].content) for event in await review.said()
    ]
    assert said == [
        ("approved", "delivery", "message 0"),
        ("corrected", "refund", "message 1"),
        ("rejected", None, "message 2"),
        ("corrected", "password", "message 3"),
        ("corrected", "password", "odd"),
        ("approved", "delivery", "message 4"),
    ]
    await page.goto(f"{url}/history")
    assert await page.locator(".history li").count() == 6


async def test_hostile_text_is_shown_as_text_and_runs_nothing(
    served: tuple[Review, str], browser
) -> None:
    review, url = served
    page = await browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    await sign_in(page, url, review.keys["acme"])
    free = factories.spec(task="summarisation", labels=(), review={"rate": 1.0})
    await review.hears(
        factories.route_changed(spec=free), *(asked(text, answer=text) for text in HOSTILE)
    )
    response = await page.goto(f"{url}/review")
    assert (
        "default-src 'none'" in response.headers["content-security-policy"]
        and "unsafe" not in response.headers["content-security-policy"]
    )
    for text in HOSTILE:
        assert (
            await page.inner_text(".message.user .body") == text
            and await page.inner_text(".answer .body") == text
        )
        assert await page.input_value("textarea") == text
        await press(page, "a")
    await page.goto(f"{url}/history")
    assert await page.locator("main script, main img, main svg, main iframe").count() == 0
    assert await page.evaluate("window.hacked") is None and problems == []


async def test_hidden_characters_are_shown_and_times_are_the_viewers(
    served: tuple[Review, str], browser
) -> None:
    review, url = served
    page = await browser.new_page()
    await sign_in(page, url, review.keys["acme"])
    inference = asked("pay\u202e now\u200b", occurred_at="2026-03-01T20:00:00Z")
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 1.0})), inference
    )
    await page.goto(f"{url}/review")
    assert await page.locator(".message .mark").all_inner_texts() == ["U+202E", "U+200B"]
    # Asia/Kolkata is UTC+5:30
    assert "Mar 2, 2026" in (shown := await page.inner_text("time")) and "1:30" in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_has_enough_contrast(served: tuple[Review, str], browser, scheme: str) -> None:
    review, url = served
    page = await browser.new_page()
    await page.emulate_media(color_scheme=scheme)
    await sign_in(page, url, review.keys["acme"])
    complaint = asked("hello")
    await review.hears(
        factories.route_changed(spec=factories.spec(review={"rate": 1.0})),
        complaint,
        asked("unsure", outcome="unsure"),
        factories.drift(),
        asked("drift"),
        factories.feedback(inference_id=complaint.inference_id, kind="correction", text="refund"),
    )
    for path in ("/queue", "/review"):
        await page.goto(f"{url}{path}")
        assert await page.evaluate(LOW_CONTRAST) == []


# Every element with text of its own against the nearest opaque background; WCAG AA asks for 4.5.
LOW_CONTRAST = """() => {
  const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (color) => {
    const [r, g, b] = rgb(color).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if ((rgb(c)[3] ?? 1) === 1) return c;
    }
    return 'rgb(255, 255, 255)';
  };
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const ratio = (e) => {
    const pair = [light(getComputedStyle(e).color), light(behind(e))];
    const [a, b] = pair.sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => e.checkVisibility() && !e.disabled && !e.closest('.unseen, .skip-link'))
    .filter((e) => hasText(e) && ratio(e) < 4.5)
    .map((e) => `${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 30)}: ${ratio(e)}`);
}"""


async def test_the_last_verdict_is_taken_back_with_a_key_also_when_nothing_is_left(
    served: tuple[Review, str], browser
) -> None:
    review, url = served
    page = await browser.new_page()
    await sign_in(page, url, review.keys["acme"])
    route = factories.route_changed(spec=factories.spec(review={"rate": 1.0}))
    await review.hears(route, asked("first"), asked("second"))
    await page.goto(f"{url}/review")
    await press(page, "a")
    assert "second" in await page.inner_text(".work")
    await press(page, "u")
    assert "first" in await page.inner_text(".work")
    assert "Taken back" in await page.inner_text("[data-status]")
    await press(page, "r")
    await press(page, "a")
    assert "All done" in await page.inner_text("main")
    await press(page, "u")
    assert "second" in await page.inner_text(".work")
    said = [(event.verdict, event.withdrawn) for event in await review.said()]
    assert said == [
        ("approved", False),
        ("approved", True),
        ("rejected", False),
        ("approved", False),
        ("approved", True),
    ]
