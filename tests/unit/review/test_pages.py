"""Sessions, forms and headers of the pages; what they look like is checked in the browser tests."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from schemas.base import Message, ToolCall
from schemas.tool_calls import Called, Turn, written
from shared.http.auth import Keyring
from tests import factories
from tests.unit.review.harness import Review, add_key


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/test.db"  # pages add no SQL of their own


def visitor(review: Review) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(review.service.api), base_url="http://review"
    )


def token(page: httpx.Response) -> str:
    return re.search(r'name="csrf" value="([^"]+)"', page.text)[1]


async def signed_in(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.post("/login", data={"key": key, "csrf": token(await client.get("/login"))})


async def test_a_session_needs_a_reviewers_key_and_ends_with_it(review: Review) -> None:
    app = add_key(review, "app", "acme", {"infer"})
    async with visitor(review) as client:
        assert (await client.get("/queue")).headers["location"] == "/login"
        assert (
            (await signed_in(client, "rk_wrong")).status_code
            == (await signed_in(client, app)).status_code
            == 401
        )
        assert "rk_wrong" not in (await signed_in(client, "rk_wrong")).text
        assert (await signed_in(client, review.keys["acme"])).headers["location"] == "/queue"
        assert (await client.get("/queue")).status_code == 200
        review.service.settings.keys_file.write_text('{"keys": []}')  # revoked
        review.service.api.state.keyring = Keyring(review.service.settings.keys_file)
        assert (await client.get("/queue")).headers["location"] == "/login"


async def test_the_cookie_is_signed_and_out_of_reach_for_scripts(review: Review) -> None:
    async with visitor(review) as client:
        response = await signed_in(client, review.keys["acme"])
        assert {"HttpOnly", "SameSite=lax"} <= {
            part.strip() for part in response.headers["set-cookie"].split(";")
        }
        assert review.keys["acme"] not in response.headers["set-cookie"]
        client.cookies.set("ratchet_review", client.cookies["ratchet_review"][:-2] + "xx")
        assert (await client.get("/queue")).headers["location"] == "/login"


async def test_every_post_needs_the_token_of_its_session(reviewing_all: Review) -> None:
    await reviewing_all.hears(factories.inference())
    async with visitor(reviewing_all) as client:
        assert (
            await client.post("/login", data={"key": reviewing_all.keys["acme"], "csrf": "guess"})
        ).status_code == 403
        await signed_in(client, reviewing_all.keys["acme"])
        item = re.search(r'data-item="([^"]+)"', (await client.get("/review")).text)[1]
        for path, form in (
            (f"/review/{item}/verdict", {"verdict": "approved"}),
            (f"/review/{item}/skip", {}),
            ("/logout", {}),
        ):
            assert (await client.post(path, data=form | {"csrf": "guess"})).status_code == 403
            assert (await client.post(path, data=form)).status_code == 422
    assert await reviewing_all.said() == []


async def test_a_page_loaded_again_shows_the_same_item_and_a_verdict_leads_to_the_next(
    reviewing_all: Review,
) -> None:
    await reviewing_all.hears(factories.inference(), factories.inference())
    async with visitor(reviewing_all) as client:
        await signed_in(client, reviewing_all.keys["acme"])
        first = await client.get("/review")
        again = await client.get("/review")
        (item,) = {re.search(r'data-item="([^"]+)"', page.text)[1] for page in (first, again)}
        form = {
            "csrf": token(first),
            "verdict": "corrected",
            "answer": "refund",
            "route": factories.ROUTE,
        }
        assert (await client.post(f"/review/{item}/verdict", data=form)).headers[
            "location"
        ] == "/review?route=acme%2Fsupport-triage&saved=corrected"
        assert f'data-item="{item}"' not in (await client.get("/review")).text
        refused = await client.post(f"/review/{item}/verdict", data=form | {"answer": "password"})
        assert (
            refused.status_code == 409 and "already corrected as &#39;refund&#39;" in refused.text
        )
        unknown = await client.post(f"/review/{item}/verdict", data=form | {"answer": "<b>parcel"})
        assert (
            unknown.status_code == 422
            and "delivery, refund, password" in unknown.text
            and "<b>parcel" not in unknown.text
        )


async def test_another_tenants_item_is_not_found_on_the_pages_either(reviewing_all: Review) -> None:
    await reviewing_all.hears(factories.inference())
    item = (await reviewing_all.items())[0].item_id
    async with visitor(reviewing_all) as client:
        await signed_in(client, reviewing_all.keys["globex"])
        queue = await client.get("/queue")
        assert "support-triage" not in queue.text and "Nothing to review" in queue.text
        for action, form in (("verdict", {"verdict": "approved"}), ("skip", {})):
            assert (
                await client.post(f"/review/{item}/{action}", data=form | {"csrf": token(queue)})
            ).status_code == 404
        assert (await client.get("/queue/count", params={"route": factories.ROUTE})).json() == {
            "open": 0
        }


@pytest.mark.parametrize(
    "path", ["/login", "/v1/stats", "/static/review.js", "/nowhere", "/health/live"]
)
async def test_every_answer_forbids_inline_scripts_framing_and_sniffing(
    review: Review, path: str
) -> None:
    async with visitor(review) as client:
        headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy
        and "frame-ancestors 'none'" in policy
        and "unsafe" not in policy
    )
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")


async def test_no_page_has_anything_inline_or_from_elsewhere(reviewing_all: Review) -> None:
    await reviewing_all.hears(factories.inference())
    async with visitor(reviewing_all) as client:
        await signed_in(client, reviewing_all.keys["acme"])
        for path in (
            "/login",
            "/queue",
            "/review",
            "/history",
            "/history?page=0",
            "/review?route=acme/none",
        ):
            page = (await client.get(path)).text
            assert not re.search(
                r"<style|\sstyle=|\son[a-z]+=|(?:src|href)=\"(?!/|#)|<script(?! src=)", page
            ), path


async def test_a_session_outlives_a_restart(review: Review) -> None:
    from services.review.app import build

    async with visitor(review) as client:
        await signed_in(client, review.keys["acme"])
        review.service = build(review.service.settings)
        async with visitor(review) as later:
            later.cookies = client.cookies
            assert (await later.get("/queue")).status_code == 200
    await review.service.db.close()


async def test_calls_and_tools_are_shown_as_people_read_them(reviewing_all: Review) -> None:
    chat = factories.spec(task="conversation", labels=(), review={"rate": 1.0})
    await reviewing_all.hears(factories.route_changed(spec=chat, version=2))
    find = {
        "type": "function",
        "function": {"name": "find", "description": "Finds <it>.", "parameters": {}},
    }
    turn = Turn("", (Called("find", '{"id": 7}'),))
    call = ToolCall(id="c1", name="find", arguments='{"id": 6}')
    messages = (
        *factories.USER,
        Message(role="assistant", content="Let me look.", tool_calls=(call,)),
        Message(role="tool", content="Nothing", tool_call_id="c1"),
    )
    inference = factories.inference(
        answer=written(turn), messages=messages, tools=(find,), cut=True, outcome="unsure"
    )
    await reviewing_all.hears(inference)
    async with visitor(reviewing_all) as client:
        await signed_in(client, reviewing_all.keys["acme"])
        opened = await client.get("/review")
        page = opened.text
        shown = html.unescape(page)
        assert '"arguments": {\n        "id": 7' in shown and '"id": 6' in shown
        assert "Finds &lt;it&gt;." in page and "Tools that the model could call" in page
        assert "Let me look." in shown and "its reader left" in shown
        item = re.search(r'data-item="([^"]+)"', page)[1]
        right = written(Turn("", (Called("find", '{"id": 8}'),)))
        form = {"csrf": token(opened), "verdict": "corrected", "answer": right}
        lost = form | {"answer": right.replace("find", "lose")}
        refused = await client.post(f"/review/{item}/verdict", data=lost)
        assert refused.status_code == 422 and "was not offered" in refused.text
        saved = await client.post(f"/review/{item}/verdict", data=form)
        assert saved.status_code == 303
    [said] = await reviewing_all.said()
    assert (said.answer, said.verdict, said.tools) == (right, "corrected", (find,))
    assert said.messages == messages
