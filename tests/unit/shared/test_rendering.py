"""What is rendered without a model is, byte for byte, what the model would have said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Message, uuid7
from schemas.events import InferenceRecorded
from shared.events.rendering import Renderer, rendered
from tests import factories

LIKE = InferenceRecorded(
    tenant="acme",
    route="acme/support-triage",
    inference_id="inf_0",
    messages=(),
    answer="",
    arm="external",
    model="external",
)
RENDER = Renderer(LIKE, "capture")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
moments = st.integers(0, 4_000_000_000_000_000).flatmap(
    lambda at: zones.map(lambda zone: datetime.fromtimestamp(at / 1e6, zone))
)
fields = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": texts}),
            max_size=3,
        ),
        "answer": texts,
        "model": texts,
        "latency_ms": st.none() | st.floats(0, 1e300),
        "prompt_tokens": st.none() | st.integers(0, 2**31),
        "metadata": st.dictionaries(texts, texts, max_size=3),
    }
)


@given(fields, moments)
def test_it_equals_the_model(said: dict, at: datetime) -> None:
    event_id = uuid7()
    messages = tuple(Message(**message) for message in said["messages"])
    event = LIKE.model_copy(
        update=said | {"event_id": event_id, "occurred_at": at, "messages": messages}
    )
    said["messages"] = [{"role": message.role, "content": message.content} for message in messages]
    fast = RENDER(event_id, at, **said)
    slow = rendered(event, "capture")
    assert fast == slow
    assert InferenceRecorded.model_validate_json(fast.payload) == event


def test_a_field_that_is_wrong_would_be_noticed() -> None:
    event = factories.inference()
    assert RENDER(event.event_id, event.occurred_at, answer="x") != rendered(event, "capture")


def test_headers_carry_the_id_and_the_time() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    headers = json.loads(RENDER("0190-event", at).headers)
    assert (headers["ce_id"], headers["ce_time"], headers["ce_subject"]) == (
        "0190-event",
        at.isoformat(),
        "acme/support-triage",
    )
