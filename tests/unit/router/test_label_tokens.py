"""Labels that the engine would cut are refused when a route is made; an engine that is away only
gives a warning.
"""

from __future__ import annotations

from typing import Any

import pytest

from services.router.label_tokens import AT_ONCE
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.fakes import FakeVllm

CHINESE = "退款申请进度查询"
SCRIPTS = {
    "Chinese": (CHINESE, "订单"),
    "Arabic": ("الاستعلام عن حالة طلب استرداد الأموال", "شكر"),
    "Thai": ("ขอเงินคืนสำหรับคำสั่งซื้อ", "ดี"),
    "Hindi": ("धनवापसी की स्थिति", "अन्य"),
    "emoji": ("👩‍👩‍👧‍👦 family", "👍"),
    "one long word": ("internationalisation-and-localisation", "i18n"),
}


def tokens(text: str) -> int:
    """Count as a tokenizer of English does: a letter of another script takes two tokens."""
    return sum(1 if char.isascii() else 2 for char in text)


@pytest.fixture
def vllm() -> FakeVllm:
    fake = FakeVllm()
    fake.tokens = tokens
    return fake


async def put(router: Running, **changes: Any) -> tuple[int, dict[str, Any]]:
    body = factories.spec(**changes).model_dump(mode="json")
    async with router.http() as http:
        answer = await http.post("/v1/routes", json=body)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_label_that_would_be_cut_is_refused_with_the_number_needed(
    router: Running, script: str
) -> None:
    labels = SCRIPTS[script]
    needed = tokens(labels[0])
    status, refused = await put(router, labels=labels, max_tokens=9)
    assert (status, refused["error"]) == (422, "LabelsTooLong")
    assert labels[0] in refused["detail"] and f"({needed} tokens)" in refused["detail"]
    assert f"at least {needed + 1}" in refused["detail"]
    assert labels[1] not in refused["detail"]
    assert factories.ROUTE not in router.service.parts.table.views
    assert (await put(router, labels=labels, max_tokens=needed))[0] == 422
    for enough in (needed + 1, needed + 2):
        status, made = await put(router, labels=labels, max_tokens=enough)
        assert status in (200, 201) and made["warnings"] == []


async def test_labels_are_counted_once_and_few_at_a_time(router: Running, vllm: FakeVllm) -> None:
    labels = tuple(f"a label of some length {number}" for number in range(200))
    assert (await put(router, labels=labels, max_tokens=60))[0] == 201
    assert sorted(vllm.counted) == sorted(labels)
    assert vllm.counting_most <= AT_ONCE
    status, refused = await put(router, labels=labels, max_tokens=12)
    assert (status, len(vllm.counted)) == (422, 200)
    assert "and 195 more" in refused["detail"]
    assert len(refused["detail"]) < 1000


@pytest.mark.parametrize("trouble", ["away", "no such endpoint", "nonsense"])
async def test_an_engine_that_cannot_say_gives_a_warning_until_it_can(
    router: Running, vllm: FakeVllm, trouble: str
) -> None:
    vllm.fail_tokenize = {
        "away": (503, "starting"),
        "no such endpoint": (404, "Not Found"),
        "nonsense": (200, "{}"),
    }[trouble]
    status, made = await put(router, labels=(CHINESE, "订单"), max_tokens=8)
    assert status == 201
    [warning] = made["warnings"]
    assert "max_tokens (8)" in warning and "ratchet routes show" in warning
    vllm.fail_tokenize = None
    async with router.http() as http:
        shown = (await http.get(f"/v1/routes/{factories.ROUTE}")).json()
        [warning] = shown["warnings"]
        assert f"'{CHINESE}' ({tokens(CHINESE)} tokens)" in warning
        # The same again is no change, and so no reason to refuse.
        again = await http.post("/v1/routes", json=shown["spec"])
        assert (again.status_code, again.json()["version"]) == (200, 1)
        assert again.json()["warnings"] == [warning]


async def test_other_tasks_have_no_labels_to_count(router: Running, vllm: FakeVllm) -> None:
    status, made = await put(
        router, task="extraction", labels=(), output_schema={"type": "object"}, max_tokens=1
    )
    assert (status, made["warnings"], vllm.counted) == (201, [], [])


@pytest.mark.parametrize("task", ["summarisation", "conversation"])
async def test_a_free_text_route_is_like_others(router: Running, task: str) -> None:
    status, made = await put(router, task=task, labels=())
    assert (status, made["warnings"]) == (201, [])
