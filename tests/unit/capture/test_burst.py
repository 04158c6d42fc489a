"""More than capture can record at once is told to come again, at once; what was admitted is
recorded.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter

import pytest

from services.capture import load
from tests.unit.capture.conftest import Capture
from tests.unit.capture.test_inferences import PATH, sent

SIZE = len(json.dumps(sent(client_id="c-00")))
AMPLE = 10**9


@pytest.mark.parametrize(
    ("most", "most_bytes", "admitted"),
    [(8, AMPLE, 8), (AMPLE, 7 * SIZE + 1, 7), (AMPLE, AMPLE, 40)],
    ids=["requests", "bytes", "no limit"],
)
async def test_a_burst_is_shed_with_retry_after(
    small: Capture, monkeypatch: pytest.MonkeyPatch, most: int, most_bytes: int, admitted: int
) -> None:
    monkeypatch.setattr(load, "MOST_REQUESTS", most)
    monkeypatch.setattr(load, "MOST_BYTES", most_bytes)
    async with small.service.db.transaction():  # nobody can commit meanwhile
        replies = [
            asyncio.create_task(small.post(PATH, sent(client_id=f"c-{number:02}")))
            for number in range(40)
        ]
        async with asyncio.timeout(20):
            while sum(reply.done() for reply in replies) < 40 - admitted:
                await asyncio.sleep(0.01)
    answers = [await reply for reply in replies]
    assert Counter(answer.status_code for answer in answers) == Counter(
        {202: admitted, 503: 40 - admitted}
    )
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 503} <= {
        "1"
    }
    assert len(await small.events()) == admitted
    assert (await small.post(PATH, sent())).status_code == 202


async def test_one_large_body_is_always_admitted(
    small: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MOST_BYTES", 10)
    assert (await small.post(PATH, sent())).status_code == 202


async def test_a_packed_body_counts_as_what_it_unpacks_to(
    small: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = sent(input="x" * 200_000)
    packed = gzip.compress(json.dumps(large).encode())
    monkeypatch.setattr(load, "MOST_BYTES", 500_000)
    async with small.service.db.transaction():  # nobody can commit meanwhile
        replies = [
            asyncio.create_task(small.post(PATH, packed, **{"content-encoding": "gzip"}))
            for _ in range(6)
        ]
        async with asyncio.timeout(20):
            while sum(reply.done() for reply in replies) < 4:
                await asyncio.sleep(0.01)
    statuses = Counter([(await reply).status_code for reply in replies])
    assert statuses == {202: 2, 503: 4}
    assert (await small.post(PATH, sent())).status_code == 202


async def test_a_tenant_that_fills_it_leaves_room_for_the_next(
    small: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MOST_BYTES", 7 * SIZE + 1)
    async with small.service.db.transaction():  # nobody can commit meanwhile
        first = [
            asyncio.create_task(small.post(PATH, sent(client_id=f"c-{number:02}")))
            for number in range(20)
        ]
        async with asyncio.timeout(20):
            while sum(reply.done() for reply in first) < 13:
                await asyncio.sleep(0.01)
        others = [
            asyncio.create_task(small.post(PATH, sent(client_id=f"d-{number:02}"), "globex"))
            for number in range(3)
        ]
        await asyncio.sleep(0.1)
        refused = await small.post(PATH, sent(client_id="c-99"))
    assert [(await reply).status_code for reply in others] == [202] * 3
    assert Counter([(await reply).status_code for reply in first]) == {202: 7, 503: 13}
    assert refused.status_code == 503
