"""A client that heard nothing and sends again: each inference ends in one event, whatever became of
the first attempt.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.unit.capture.conftest import Capture
from tests.unit.capture.test_inferences import PATH, sent


def batch(name: str, count: int = 40) -> dict[str, object]:
    return {"inferences": [sent(client_id=f"{name}-{number}") for number in range(count)]}


async def given_up(capture: Capture, body: dict[str, object], after: float) -> bool:
    """Send and stop listening after so many seconds; whether there was no answer by then."""
    try:
        await asyncio.wait_for(capture.post(PATH, body), after)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize("seed", range(3))
async def test_a_retry_after_a_time_out_doubles_and_loses_nothing(
    capture: Capture, seed: int
) -> None:
    waits = [0.0, *(random.Random(seed).uniform(0.0005, 0.05) for _ in range(11))]
    gave_up = await asyncio.gather(
        *(given_up(capture, batch(f"try-{number}"), wait) for number, wait in enumerate(waits))
    )
    assert any(gave_up), seed
    for number in range(len(waits)):
        reply = (await capture.post(PATH, batch(f"try-{number}"))).json()
        assert (reply["accepted"] + reply["duplicates"], reply["rejected"]) == (40, []), seed
        assert (
            reply["inference_ids"]
            == (await capture.post(PATH, batch(f"try-{number}"))).json()["inference_ids"]
        ), seed
    events = await capture.events()
    assert len(events) == len({event["inference_id"] for event in events}) == 40 * len(waits), seed


async def test_a_batch_that_was_taken_in_part_can_be_mended_and_sent_again(
    capture: Capture,
) -> None:
    items = [sent(client_id="a"), sent(client_id="b", answer=None), sent(client_id="c")]
    first = (await capture.post(PATH, {"inferences": items})).json()
    assert (first["accepted"], [one["index"] for one in first["rejected"]]) == (2, [1])
    items[1]["answer"] = "refund"
    again = (await capture.post(PATH, {"inferences": items})).json()
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (1, 2, [])
    assert [again["inference_ids"][index] for index in (0, 2)] == [
        first["inference_ids"][index] for index in (0, 2)
    ]
    assert sorted(event["answer"] for event in await capture.events()) == [
        "delivery",
        "delivery",
        "refund",
    ]


async def test_a_retry_with_other_content_changes_nothing(capture: Capture) -> None:
    await capture.post(PATH, sent(client_id="a", answer="first"))
    await capture.post(PATH, sent(client_id="a", answer="second"))
    assert [event["answer"] for event in await capture.events()] == ["first"]
