"""From what an app sent to the events that say so: redacted, under unguessable ids, large contents by reference."""

from __future__ import annotations

import hashlib
import secrets

from pydantic_core import to_json

from schemas.base import Message
from schemas.events import FeedbackRecorded, InferenceRecorded
from services.capture.ports import Contents, Entry
from services.capture.shapes import SentFeedback, SentInference
from shared.clock import now
from shared.redaction import redact

INLINE_BYTES = 256 * 1024  # what an event may carry


def inference_entry(sent: SentInference, tenant: str, route: str, contents: Contents) -> Entry:
    inference_id = f"inf_{secrets.token_hex(16)}"
    messages = tuple(Message(role=message.role, content=redact(message.content)) for message in sent.conversation())
    event = InferenceRecorded(
        tenant=tenant, route=route, inference_id=inference_id, messages=messages, answer=redact(sent.answer), arm="external", model=sent.model,
        outcome="external", latency_ms=sent.latency_ms, prompt_tokens=sent.prompt_tokens, completion_tokens=sent.completion_tokens,
        metadata={key: redact(value) for key, value in sent.metadata.items()}, occurred_at=sent.occurred_at or now(),
    )  # fmt: skip
    return Entry(key_of("inference", tenant, sent.client_id or inference_id), inference_id, (inline(event, contents),))


def inline(event: InferenceRecorded, contents: Contents) -> InferenceRecorded:
    """The event itself, or, when it is too large for a topic, one that refers to its content."""
    if sum(len(message.content.encode()) for message in event.messages) + len(event.answer.encode()) <= INLINE_BYTES:
        return event
    content = contents.put_bytes(to_json({"messages": event.messages, "answer": event.answer}), "content", ".json")
    return event.model_copy(update={"messages": (), "answer": "", "content": content})


def feedback_entry(sent: SentFeedback, tenant: str, route: str, source: str) -> Entry:
    feedback_id = f"fb_{secrets.token_hex(16)}"
    events = tuple(
        FeedbackRecorded(
            tenant=tenant, route=route, feedback_id=f"{feedback_id}.{kind}", inference_id=sent.inference_id, kind=kind, source=source,
            value=None if isinstance(said, str) else said, text=redact(said) if isinstance(said, str) else None, occurred_at=sent.occurred_at or now(),
        )
        for kind, said in sent.judgements().items()
    )  # fmt: skip
    return Entry(key_of("feedback", tenant, sent.client_id or feedback_id), feedback_id, events)


def key_of(kind: str, tenant: str, client_id: str) -> str:
    """A digest: client ids may be anything, even an e-mail address."""
    return hashlib.sha256(f"{kind}\0{tenant}\0{client_id}".encode()).hexdigest()
