"""Events as the outbox holds them: the JSON, the CloudEvents headers, the key. From a model, or,
where thousands come in a second, without one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import to_json

from schemas.base import Event
from schemas.topics import topic_of

# Stand where the id and the time of an event will.
PLACE = "\0"
NO_TIME = datetime.min.replace(tzinfo=UTC)


class Rendered(NamedTuple):
    """One row for the outbox: names as in Debezium's event router (outbox.py)."""

    id: str
    aggregatetype: str
    aggregateid: str
    type: str
    payload: bytes
    headers: str


def rendered(event: Event, service: str) -> Rendered:
    topic = topic_of(type(event))
    return Rendered(
        event.event_id,
        topic.name,
        getattr(event, topic.key),
        type(event).__name__,
        event.model_dump_json().encode(),
        headers_of(event, service),
    )


def headers_of(event: Event, service: str) -> str:
    """Return the CloudEvents headers as JSON: what events of a route have alike is made once."""
    before, between, after = _frame(type(event), service, event.tenant, event.route)
    written = json.dumps(event.event_id)
    return f"{before}{written}{between}{event.occurred_at.isoformat()}{after}"


@lru_cache(4096)
def _frame(kind: type[Event], service: str, tenant: str, route: str) -> tuple[str, str, str]:
    like = kind.model_construct(event_id=PLACE, occurred_at=NO_TIME, tenant=tenant, route=route)
    headers = json.dumps(cloudevent_headers(like, service))
    before, _, rest = headers.partition(json.dumps(PLACE))
    between, _, after = rest.partition(NO_TIME.isoformat())
    return before, between, after


def cloudevent_headers(event: Event, service: str) -> dict[str, str]:
    """CloudEvents 1.0 Kafka binding, binary mode: attributes are headers, the body is the data."""
    return {
        "ce_specversion": "1.0",
        "ce_id": event.event_id,
        "ce_source": f"/ratchet/{service}",
        "ce_type": type(event).__name__,
        "ce_time": event.occurred_at.isoformat(),
        "ce_subject": event.route,
        "ce_tenant": event.tenant,
        "ce_dataschema": f"{event.schema_name()}.json",
        "content-type": "application/json",
    }


class Renderer:
    """Renders events that differ from `like` in a few fields, without building a model: 4 us an
    event instead of 15.

    It checks nothing: `like` is a valid event, and the caller answers for the fields that it
    replaces.
    """

    def __init__(self, like: Event, service: str) -> None:
        slow = rendered(like, service)
        self._topic = slow.aggregatetype
        self._type = slow.type
        self._key = topic_of(type(like)).key
        # Not those that an event leaves out where they are unset.
        self._fields = {name: getattr(like, name) for name in like.model_dump()}
        self._headers = split_headers(slow.headers, like)

    def __call__(self, event_id: str, occurred_at: datetime, **fields: Any) -> Rendered:
        event = self._fields | fields
        event["event_id"] = event_id
        event["occurred_at"] = occurred_at
        before, between, after = self._headers
        headers = f"{before}{event_id}{between}{occurred_at.isoformat()}{after}"
        return Rendered(
            event_id, self._topic, event[self._key], self._type, to_json(event), headers
        )


def split_headers(headers: str, event: Event) -> tuple[str, str, str]:
    """Split the headers around event id and time, which alone differ between events of a route."""
    before, _, rest = headers.partition(event.event_id)
    between, _, after = rest.partition(event.occurred_at.isoformat())
    return before, between, after
