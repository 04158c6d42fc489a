"""Pages have sessions in place of keys: only behind one a form may be large."""

from __future__ import annotations

import httpx
import pytest

from services.review.verdicts import MAX_ANSWER, AnswerTooLong, check_verdict
from tests import factories
from tests.unit.review.harness import Review
from tests.unit.review.test_pages import signed_in, visitor

TEXT = factories.spec(task="summarisation", labels=())


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/test.db"  # the door adds no SQL of its own


async def send_verdict(client: httpx.AsyncClient, answer: str) -> httpx.Response:
    form = {"csrf": "x", "verdict": "corrected", "answer": answer}
    return await client.post("/review/item/verdict", data=form)


async def test_a_large_form_needs_a_session(review: Review) -> None:
    async with visitor(review) as client:
        assert (await send_verdict(client, "x" * 1000)).status_code == 303  # to the login
        assert (await send_verdict(client, "x" * 20_000)).status_code == 413
        client.cookies.set("ratchet_review", "forged")
        assert (await send_verdict(client, "x" * 20_000)).status_code == 413
        client.cookies.clear()
        await signed_in(client, review.keys["acme"])
        # its token is wrong, so it was read; each character takes twelve bytes in a form
        assert (await send_verdict(client, "😀" * MAX_ANSWER)).status_code == 403


async def test_a_form_with_a_nul_is_refused_in_words(review: Review) -> None:
    async with visitor(review) as client:
        await signed_in(client, review.keys["acme"])
        answer = await send_verdict(client, "a\0b")
        assert answer.status_code == 422
        assert "NUL" in answer.text


def test_an_answer_that_no_event_could_hold_is_not_approved() -> None:
    assert check_verdict("approved", None, "x" * MAX_ANSWER, TEXT).verdict == "approved"
    with pytest.raises(AnswerTooLong):
        check_verdict("approved", None, "x" * (MAX_ANSWER + 1), TEXT)
    assert check_verdict("rejected", None, "x" * (MAX_ANSWER + 1), TEXT).verdict == "rejected"
