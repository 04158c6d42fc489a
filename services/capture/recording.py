"""From what an app sent to the events that say so: redacted, under unguessable ids, large contents
by reference.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from binascii import b2a_base64
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from schemas.base import JsonObject, Message, uuid7s
from schemas.events import FeedbackRecorded, InferenceRecorded
from schemas.personal import Treatment
from services.capture.shapes import SentFeedback, SentInference
from shared.clock import now
from shared.events import Rendered, Renderer, rendered
from shared.privacy import Personal, Redact, both_ways, redact
from shared.rules import (
    ESCAPED_BYTES,
    FRAME_BYTES,
    INLINE_BYTES,
    cleaned_record,
    cleaned_turn,
    fits_in_event,
    session_hash,
    store_content,
    thought_in,
)
from shared.storage import BlobStore

SERVICE = "capture"
# Characters: an event carries it beside the answer.
MOST_OF_A_THOUGHT = 65_536


class Origin(NamedTuple):
    """Who sent it: a tenant's application, by a credential or on a topic (`source`)."""

    tenant: str
    application: str
    source: str


class Entry(NamedTuple):
    """Something to record once, with its events.

    `key` is the digest of who sent it to which route under which id; `public_id` is what the app
    gets back. `content` is a digest of the main facts: the same id with another one is no repeat.
    `old_parts` are those of the key that release 0.1 would have stored it under.
    """

    key: str
    public_id: str
    tenant: str
    route: str
    content: str
    events: tuple[Rendered, ...]
    old_parts: tuple[str, ...] | None

    def old_key(self) -> str | None:
        """Return the key of release 0.1: made where it is asked for, which is hardly ever."""
        return digest(*self.old_parts) if self.old_parts else None


class InferenceEntries:
    """Makes the entries of one request: its ids, its clock and what all its events have in common
    are made once.
    """

    def __init__(self, origin: Origin, count: int, blobs: BlobStore, personal: Personal) -> None:
        self.origin = origin
        self.blobs = blobs
        self.personal = personal
        self.at = now()
        self._ids = zip(uuid7s(count), public_ids("inf", count), strict=True)

    def entry(self, sent: SentInference, route: str, chosen: Mapping[str, Treatment]) -> Entry:
        """Make the entry of one inference; block while it writes content too large for an event.
        `chosen` is what of personal data its route does not redact.
        """
        event_id, inference_id = next(self._ids)
        redacting = self.personal.of(chosen, route, inference_id)
        said = both_ways(lambda: said_in(sent, redacting), redacting)
        event = renderer(self.origin.tenant, route)(
            event_id,
            sent.occurred_at or self.at,
            inference_id=inference_id,
            model=said.model,
            latency_ms=sent.latency_ms,
            prompt_tokens=sent.prompt_tokens,
            completion_tokens=sent.completion_tokens,
            metadata=said.metadata,
            session=session_hash(route, sent.metadata.get("session") or sent.metadata.get("user")),
            **self._content(said.messages, said.answer),
            **thought_of(said),
        )
        # The same content again has other surrogates, under another id.
        plain = said if redacting is redact else said_in(sent, redact)
        facts = [plain.answer]
        for message in plain.messages:
            facts += (text_of(value) for value in message.values())
        return entry_of("inference", self.origin, route, sent.client_id, inference_id, facts, event)

    def _content(self, messages: list[JsonObject], answer: str) -> JsonObject:
        """Return messages and answer, or a reference to them where an event can't carry them."""
        if is_small(messages, answer):
            return {"messages": messages, "answer": answer}
        return {"content": store_content(self.blobs, as_models(messages), answer)}


class Said(NamedTuple):
    """What was asked and answered, redacted."""

    messages: list[JsonObject]
    answer: str
    model: str
    metadata: dict[str, str]
    # What the model thought before it answered.
    thought: str = ""


def said_in(sent: SentInference, redacting: Redact) -> Said:
    thought, answer = thought_in(sent.answer) or ("", sent.answer)
    return Said(
        [cleaned_turn(turn, redacting) for turn in sent.turns()],
        redacting(answer),
        model_in(sent, redacting),
        cleaned_record(sent.metadata, redacting),
        redacting(thought.strip()[:MOST_OF_A_THOUGHT]) if thought else "",
    )


def model_in(sent: SentInference, redacting: Redact) -> str:
    return redacted_model(sent.model) if redacting is redact else redacting(sent.model)


@lru_cache(1024)
def redacted_model(name: str) -> str:
    """Redact the name of a model: an app sends the same few again and again, and most have a digit,
    which wants a closer look.
    """
    return redact(name)


def thought_of(said: Said) -> JsonObject:
    """Return the attempt that holds a thought: it is kept, and is no part of the answer."""
    if not said.thought:
        return {}
    attempt = {"arm": "external", "model": said.model, "answer": "", "latency_ms": 0.0}
    return {"attempts": [attempt | {"thought": said.thought}]}


@lru_cache(1024)
def renderer(tenant: str, route: str) -> Renderer:
    """Make what renders the recorded inferences of a route."""
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


def text_of(value: str | list[JsonObject]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def is_small(messages: list[JsonObject], answer: str) -> bool:
    """Say whether an event can carry these; makes models only where characters leave a doubt."""
    characters = len(answer) + len(messages) * FRAME_BYTES
    for message in messages:
        characters += len(message["content"])
        if "tool_calls" in message:
            characters += INLINE_BYTES
    return characters * ESCAPED_BYTES <= INLINE_BYTES or fits_in_event(as_models(messages), answer)


def as_models(messages: list[JsonObject]) -> list[Message]:
    return [Message.model_validate(message) for message in messages]


def feedback_entry(sent: SentFeedback, origin: Origin, route: str, redacting: Redact) -> Entry:
    """Make the entry of feedback: an event for each thing it says."""
    [feedback_id] = public_ids("fb", 1)
    said = judged_in(sent, redacting)
    events = (
        FeedbackRecorded(
            tenant=origin.tenant,
            route=route,
            feedback_id=f"{feedback_id}.{kind}",
            inference_id=sent.inference_id,
            kind=kind,
            source=origin.source,
            value=None if isinstance(value, str) else value,
            text=value if isinstance(value, str) else None,
            occurred_at=sent.occurred_at or now(),
        )
        for kind, value in said.items()
    )
    facts = [sent.inference_id]
    plain = said if redacting is redact else judged_in(sent, redact)
    for kind, value in plain.items():
        facts += (kind, value if isinstance(value, str) else repr(float(value)))
    return entry_of(
        "feedback",
        origin,
        route,
        sent.client_id,
        feedback_id,
        facts,
        *(rendered(event, SERVICE) for event in events),
    )


def judged_in(sent: SentFeedback, redacting: Redact) -> dict[str, str | float]:
    return {
        kind: redacting(value) if isinstance(value, str) else value
        for kind, value in sent.judgements().items()
    }


def entry_of(
    kind: str,
    origin: Origin,
    route: str,
    client_id: str | None,
    public_id: str,
    facts: list[str],
    *events: Rendered,
) -> Entry:
    """Put an entry together; without an id of the app's own each is another."""
    tenant = origin.tenant
    if client_id is None:
        return Entry(digest(kind, public_id), public_id, tenant, route, "", events, None)
    return Entry(
        digest(kind, tenant, origin.application, route, client_id),
        public_id,
        tenant,
        route,
        digest(*facts),
        events,
        (kind, tenant, client_id),
    )


def public_ids(kind: str, count: int) -> list[str]:
    """Make ids of a millisecond clock and 80 random bits.

    They are unguessable, and yet neighbours in an index, which so grows at its end only.
    """
    moment = f"{time.time_ns() // 1_000_000:012x}"
    noise = secrets.token_hex(10 * count)
    return [f"{kind}_{moment}{noise[start : start + 20]}" for start in range(0, 20 * count, 20)]


def digest(*parts: str) -> str:
    """Return a digest of 128 bits: client ids may be anything, even an e-mail address.

    With 10^12 ids two are equal once in 10^14 such systems.
    """
    found = hashlib.sha256("\0".join(parts).encode()).digest()
    return b2a_base64(found[:16], newline=False).decode()
