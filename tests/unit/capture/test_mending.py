"""Whatever is sent, an item is taken and can be stored, or is refused in words; never neither."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from schemas.events import FeedbackRecorded, InferenceRecorded
from services.capture.mending import Unusable, look
from services.capture.parsing import parse
from services.capture.recording import InferenceEntries, Origin, feedback_entry
from services.capture.shapes import SentFeedback, SentInference
from services.capture.splitting import Inseparable, Unreadable, read_item, split
from shared.privacy import Personal, redact
from shared.rules.messages import NoContent, read_message

ROUTE = "acme/support-triage"
ORIGIN = Origin("acme", "shop", "key_1")
# Half surrogate pairs and NUL among them, and what is no finite number.
texts = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(["\ud800", "a\0b", ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "role", "content"]), inner)
    ),
    max_leaves=8,
)


def anything(shape: type[BaseModel], **right: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An item of which any field may be anything, the main facts mostly right."""
    fields = {
        name: (st.just(right[name]) | values) if name in right else values
        for name in shape.model_fields
    }
    return st.fixed_dictionaries({}, optional=fields)


inferences = anything(SentInference, route="support-triage", input="hello", answer="hi")
feedback = anything(SentFeedback, inference_id="inf_1", rating=1, route="support-triage")


@given(inferences)
def test_an_inference_is_taken_or_refused(item: dict[str, Any]) -> None:
    try:
        sent, left_out = look(item, SentInference)
    except Unusable as error:
        str(error).encode()
        return
    [event] = InferenceEntries(ORIGIN, 1, None, Personal(None)).entry(sent, ROUTE, {}).events
    InferenceRecorded.model_validate_json(event.payload)
    json.dumps(left_out).encode()
    "".join(one.field + one.reason for one in left_out).encode()


@given(feedback)
def test_feedback_is_taken_or_refused(item: dict[str, Any]) -> None:
    try:
        sent, left_out = look(item, SentFeedback)
    except Unusable as error:
        str(error).encode()
        return
    for event in feedback_entry(sent, ORIGIN, ROUTE, redact).events:
        FeedbackRecorded.model_validate_json(event.payload)
    "".join(one.field + one.reason for one in left_out).encode()


@given(st.lists(inferences, min_size=1, max_size=4))
def test_each_item_of_a_batch_has_one_end(items: list[dict[str, Any]]) -> None:
    """Also where the body as a whole is no JSON, for one of them."""
    body = json.dumps({"inferences": items}).encode()
    parsed = parse(body, SentInference, "inferences", 10)
    rejected = [one.index for one in parsed.rejected]
    assert sorted([*parsed.items, *rejected]) == list(range(len(items)))


@given(values)
def test_content_of_any_shape_is_read_or_refused(content: object) -> None:
    try:
        said = read_message(content, content)
    except NoContent:
        return
    assert isinstance(said.text, str)
    assert all(isinstance(kind, str) for kind in said.left_out)


@given(st.lists(values, min_size=1, max_size=5))
def test_a_list_is_cut_where_its_items_end(items: list[Any]) -> None:
    body = json.dumps({"before": {"inferences": [[1]]}, "inferences": items, "z": "]}"}).encode()
    assert [json.dumps(read_item(piece)) for piece in split(body, "inferences")] == [
        json.dumps(read_item(json.dumps(item).encode())) for item in items
    ]


@given(st.binary(max_size=40) | st.text('[]{}",:\\a ', max_size=40).map(str.encode))
def test_any_bytes_are_cut_or_refused(body: bytes) -> None:
    try:
        for piece in split(body, "a"):
            read_item(piece)
    except (Inseparable, Unreadable):
        pass
