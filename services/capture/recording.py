"""From what an app sent to the events that say so: redacted, under unguessable ids, large contents
by reference.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from binascii import b2a_base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic_core import to_json

from schemas.base import uuid7s
from schemas.events import FeedbackRecorded, InferenceRecorded
from services.capture.ports import Contents, Entry
from services.capture.shapes import SentFeedback, SentInference
from shared.clock import now
from shared.events.rendering import Renderer, rendered
from shared.rules.redaction import redact

SERVICE = "capture"
INLINE_BYTES = 256 * 1024  # what an event may carry
UTF8_BYTES = 4  # of a character, at most


class Inferences:
    """The entries of one request: ids, clock and what all its events have in common are made
    once.
    """

    def __init__(self, tenant: str, count: int, contents: Contents) -> None:
        self.tenant = tenant
        self.contents = contents
        self.at = now()
        self._ids = zip(uuid7s(count), public_ids("inf", count), strict=True)

    def entry(self, sent: SentInference, route: str) -> Entry:
        event_id, inference_id = next(self._ids)
        messages = [
            {"role": role, "content": redact(content)} for role, content in sent.conversation()
        ]
        event = renderer(self.tenant, route)(
            event_id,
            sent.occurred_at or self.at,
            inference_id=inference_id,
            model=sent.model,
            latency_ms=sent.latency_ms,
            prompt_tokens=sent.prompt_tokens,
            completion_tokens=sent.completion_tokens,
            metadata={key: redact(value) for key, value in sent.metadata.items()},
            **self._said(messages, redact(sent.answer)),
        )
        return Entry(
            key_of("inference", self.tenant, sent.client_id or inference_id),
            inference_id,
            self.tenant,
            route,
            (event,),
        )

    def _said(self, messages: list[dict[str, str]], answer: str) -> dict[str, Any]:
        """Messages and answer, or, when they are too large for a topic, a reference to them."""
        texts = [answer, *(message["content"] for message in messages)]
        if is_small(texts):
            return {"messages": messages, "answer": answer}
        content = self.contents.put_bytes(
            to_json({"messages": messages, "answer": answer}), "content", ".json"
        )
        return {"content": content}


@lru_cache(1024)
def renderer(tenant: str, route: str) -> Renderer:
    """What the recorded inferences of a route are like."""
    like = InferenceRecorded(
        tenant=tenant,
        route=route,
        inference_id="",
        messages=(),
        answer="",
        arm="external",
        model="external",
        outcome="external",
    )
    return Renderer(like, SERVICE)


def is_small(texts: Sequence[str]) -> bool:
    if sum(map(len, texts)) * UTF8_BYTES <= INLINE_BYTES:
        return True
    return sum(len(text.encode()) for text in texts) <= INLINE_BYTES


def feedback_entry(sent: SentFeedback, tenant: str, route: str, source: str) -> Entry:
    [feedback_id] = public_ids("fb", 1)
    events = (
        FeedbackRecorded(
            tenant=tenant,
            route=route,
            feedback_id=f"{feedback_id}.{kind}",
            inference_id=sent.inference_id,
            kind=kind,
            source=source,
            value=None if isinstance(said, str) else said,
            text=redact(said) if isinstance(said, str) else None,
            occurred_at=sent.occurred_at or now(),
        )
        for kind, said in sent.judgements().items()
    )
    key = key_of("feedback", tenant, sent.client_id or feedback_id)
    return Entry(
        key, feedback_id, tenant, route, tuple(rendered(event, SERVICE) for event in events)
    )


def public_ids(kind: str, count: int) -> list[str]:
    """80 random bits after the milliseconds: unguessable, and yet neighbours in an index, which so
    grows at its end only.
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    noise = secrets.token_hex(10 * count)
    return [f"{kind}_{moment}{noise[start : start + 20]}" for start in range(0, 20 * count, 20)]


def key_of(kind: str, tenant: str, client_id: str) -> str:
    """A digest: client ids may be anything, even an e-mail address. 128 bits: with 10^12 ids two
    are equal once in 10^14 such systems.
    """
    digest = hashlib.sha256(f"{kind}\0{tenant}\0{client_id}".encode()).digest()
    return b2a_base64(digest[:16], newline=False).decode()
