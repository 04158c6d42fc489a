"""What capture renders without building models is the event that the slow way would have built,
checked and written.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Message, uuid7, uuid7s
from schemas.events import InferenceRecorded
from services.capture.parsing import one_by_one, parse
from services.capture.recording import InferenceEntries, Origin, is_small, public_ids, said_in
from services.capture.shapes import SentInference
from shared.events.rendering import Rendered, rendered
from shared.privacy import Personal, redact, redact_but
from shared.rules import INLINE_BYTES
from shared.storage.blobs import BlobStore

ROUTE = "acme/support-triage"
ORIGIN = Origin("acme", "shop", "key_1")
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60
) | st.sampled_from(["a@b.org", "+49 30 1234567"])
questions = st.fixed_dictionaries({"input": texts}) | st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "system", "developer"]), "content": texts}
            ),
            min_size=1,
            max_size=3,
        )
    }
)
rest = st.fixed_dictionaries(
    {"route": st.just("support-triage"), "answer": texts},
    optional={
        "model": st.text("abc-/5", min_size=1, max_size=9),
        "latency_ms": st.floats(0, 1e9) | st.integers(0, 10**6),
        "prompt_tokens": st.integers(0, 9999),
        "metadata": st.dictionaries(st.text("abc", min_size=1), texts | st.booleans(), max_size=3),
        "client_id": st.text("abc-1", min_size=1),
        "occurred_at": st.sampled_from(
            [
                "2026-11-01T10:00:00Z",
                "2026-11-01T10:00:00.000001+05:30",
                "2020-02-29T00:00:00-08:00",
            ]
        ),
    },
)
inferences = st.tuples(questions, rest).map(lambda parts: parts[0] | parts[1])


def the_slow_way(sent: SentInference, said: dict) -> Rendered:
    event = InferenceRecorded(
        event_id=said["event_id"],
        occurred_at=sent.occurred_at or said["occurred_at"],
        tenant="acme",
        route=ROUTE,
        inference_id=said["inference_id"],
        messages=tuple(
            Message(role=role, content=redact(content)) for role, content in sent.conversation()
        ),
        answer=redact(sent.answer),
        arm="external",
        model=sent.model,
        outcome="external",
        latency_ms=sent.latency_ms,
        prompt_tokens=sent.prompt_tokens,
        completion_tokens=sent.completion_tokens,
        metadata={key: redact(value) for key, value in sent.metadata.items()},
    )
    return rendered(event, "capture")


@given(inferences)
def test_it_is_the_same_to_the_byte(item: dict) -> None:
    sent = SentInference.model_validate(item)
    entry = InferenceEntries(ORIGIN, 1, None, Personal(None)).entry(sent, ROUTE, {})
    [fast] = entry.events
    assert fast == the_slow_way(sent, json.loads(fast.payload))
    assert json.loads(fast.payload)["inference_id"] == entry.public_id


@given(st.lists(inferences, min_size=1, max_size=4))
def test_a_batch_parsed_in_one_call_is_the_items_parsed_one_by_one(items: list[dict]) -> None:
    body = json.dumps({"inferences": items}).encode()
    assert (
        parse(body, SentInference, "inferences", 10).items
        == one_by_one(json.loads(body)["inferences"], SentInference).items
    )


def test_large_contents_go_by_reference_and_the_event_is_still_valid(tmp_path: Path) -> None:
    sent = SentInference(route=ROUTE, input="ä" * INLINE_BYTES, answer="a")
    blobs = BlobStore(f"file://{tmp_path}")
    [fast] = InferenceEntries(ORIGIN, 1, blobs, Personal(None)).entry(sent, ROUTE, {}).events
    event = InferenceRecorded.model_validate_json(fast.payload)
    assert (event.messages, event.answer, rendered(event, "capture")) == ((), "", fast)
    assert event.content is not None


@pytest.mark.parametrize(
    ("text", "small"),
    [
        ("a" * (INLINE_BYTES - 100), True),
        ("\x01" * (INLINE_BYTES // 6 - 100), True),
        ("\x01" * (INLINE_BYTES // 6 + 1), False),
        ("a" * (INLINE_BYTES + 1), False),
        ("ä" * (INLINE_BYTES // 2 + 1), False),
    ],
)
def test_what_is_small_is_counted_in_bytes(text: str, small: bool) -> None:
    assert is_small([{"role": "user", "content": text}], "") is small


def test_ids_made_together_are_as_good_as_ids_made_alone() -> None:
    ids = uuid7s(5000)
    assert len(set(ids)) == 5000
    assert ids[:4096] == sorted(ids[:4096])
    assert (
        {(len(one), one[14], one[19] in "89ab") for one in ids}
        == {(36, "7", True)}
        == {(len(one), one[14], one[19] in "89ab") for one in [uuid7()]}
    )
    public = public_ids("inf", 100)
    assert len({one[16:] for one in public}) == 100
    assert {len(one) for one in public} == {len("inf_") + 32}


@pytest.mark.parametrize("length", [9, 200_000])
def test_a_thought_is_kept_redacted_and_is_no_part_of_the_answer(length: int) -> None:
    thought = f"call 4155552671 {'x' * length}"
    sent = SentInference(route=ROUTE, input="a", answer=f"<think>\n{thought}\n</think>\n\ndelivery")
    [fast] = InferenceEntries(ORIGIN, 1, None, Personal(None)).entry(sent, ROUTE, {}).events
    event = InferenceRecorded.model_validate_json(fast.payload)
    [attempt] = event.attempts
    assert event.answer == "delivery"
    assert attempt.thought.startswith("call [PHONE] xxxxxxxxx")
    assert len(attempt.thought) < 70_000


def test_the_name_of_a_model_is_redacted_whether_or_not_it_came_before() -> None:
    """A route that keeps phone numbers keeps them there too, whatever others have said before."""
    item = {"route": "support-triage", "input": "?", "answer": "-", "model": "call +49 30 1234567"}
    sent = SentInference.model_validate(item)
    names = [said_in(sent, how).model for how in (redact, redact_but(["PHONE"]), redact, redact)]
    assert names == ["call [PHONE]", "call +49 30 1234567", "call [PHONE]", "call [PHONE]"]
