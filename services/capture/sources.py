"""The topics of apps: records in, as their mapping reads them, checked, redacted and recorded as
requests are.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aiokafka import ConsumerRecord
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import JsonObject
from services.capture.dialects import unpacked
from services.capture.intake import OtherContent, find_route, route_judged
from services.capture.mapping import Mapping
from services.capture.mending import LeftOut, Unusable, look
from services.capture.parsing import together
from services.capture.recording import Entry, InferenceEntries, Origin, feedback_entry
from services.capture.shapes import SentFeedback, SentInference, Shape
from services.capture.splitting import Unreadable, read_item
from services.capture.store import Ledger, Owner, Routes
from services.capture.tally import Tally
from shared.errors import Invalid, RatchetError
from shared.events import event_id_of
from shared.privacy import Personal
from shared.rules import RouteUnknown
from shared.storage import BlobStore

# Beyond that a record is no conversation; its body is kept beside the reason all the same.
MOST_RECORD_BYTES = 4 * 1024 * 1024
# Parsing and redacting more than this takes some 10 ms: not on the event loop.
SLOW_BYTES = 64 * 1024
# Before JSON that was written against a schema registry: a NUL, and the schema's number.
SCHEMA_MARK, SCHEMA_BYTES = b"\0\0", 5
ID = re.compile(r"[\x21-\x7e]{1,128}")


class RecordRefused(Invalid):
    """A record of an app that cannot be taken, with the reason."""


class Tombstone(RecordRefused):
    def __init__(self) -> None:
        super().__init__("the record has no value: a tombstone is no inference and no feedback")


class RecordTooLarge(RecordRefused):
    def __init__(self, size: int) -> None:
        super().__init__(f"the record has {size} bytes; at most {MOST_RECORD_BYTES} are taken")


class RecordUnreadable(RecordRefused):
    def __init__(self, why: str) -> None:
        super().__init__(f"the record {why}; send one JSON object in UTF-8")


class RecordUnusable(RecordRefused):
    def __init__(self, why: str) -> None:
        super().__init__(f"{why} (fields as the mapping names them)")


class OtherRoute(RecordRefused):
    def __init__(self, route: str, mapped: str) -> None:
        super().__init__(
            f"the inference is one of '{route}', and the mapping of this topic says '{mapped}'"
        )


class Read(NamedTuple):
    """What a mapping made of a record, or why it made nothing."""

    sent: SentInference | SentFeedback | None
    left_out: tuple[LeftOut, ...] = ()
    refused: RatchetError | None = None


class Prepared(NamedTuple):
    """An entry to record, or why there is none."""

    entry: Entry | None
    left_out: tuple[LeftOut, ...]
    refused: RatchetError | None


class Source:
    """Takes the records of one app's topic."""

    advice = (
        "'ratchet capture map FILE --sample 100' shows what the mapping makes of them. Correct it,"
        " start capture again, then 'ratchet dlq replay' what is a dead letter"
    )

    def __init__(
        self,
        mapping: Mapping,
        ledger: Ledger,
        blobs: BlobStore,
        personal: Personal,
        tally: Tally,
    ) -> None:
        self.mapping = mapping
        self.topic = mapping.topic
        self.version = mapping.version
        self.ledger = ledger
        self.blobs = blobs
        self.personal = personal
        self.tally = tally
        self.origin = Origin(
            mapping.tenant, mapping.application or mapping.topic, f"topic:{mapping.topic}"
        )

    async def has_fitted(self) -> bool:
        return await self.ledger.fits.known(self.topic, self.version)

    async def note_that_it_fits(self) -> None:
        await self.ledger.fits.note(self.topic, self.version)

    async def waits(self) -> str | None:
        """Wait for the route: what comes before it is made must not be lost."""
        try:
            find_route(self.mapping.route, self.mapping.tenant, await self._routes())
        except RouteUnknown as error:
            return str(error)
        return None

    async def _routes(self) -> Routes:
        return await self.ledger.routes(self.mapping.tenant, {self.mapping.route})

    async def prepare(self, records: Sequence[ConsumerRecord]) -> list[Prepared]:
        """Read, check and redact records: what a transaction need not wait for."""
        read: list[Read] = []
        owners: dict[str, Owner] = {}
        known = await self._routes()
        if self.mapping.records == "feedback":
            read = await asyncio.to_thread(read_records, self.mapping, records)
            judged = {one.sent.inference_id for one in read if isinstance(one.sent, SentFeedback)}
            owners = await self.ledger.owners(sorted(judged))
        inferences = InferenceEntries(self.origin, len(records), self.blobs, self.personal)

        def make_all() -> list[Prepared]:
            all_read = read or read_records(self.mapping, records)
            return [self._prepared(one, inferences, owners, known) for one in all_read]

        slow = sum(len(record.value or b"") for record in records) > SLOW_BYTES
        return await asyncio.to_thread(make_all) if slow else make_all()

    def _prepared(
        self, read: Read, inferences: InferenceEntries, owners: dict[str, Owner], known: Routes
    ) -> Prepared:
        mapped = self.mapping.route
        chosen = known.get(mapped, {})
        try:
            match read.sent:
                case SentInference():
                    entry = inferences.entry(read.sent, mapped, chosen)
                case SentFeedback():
                    route = route_judged(read.sent, self.origin.tenant, owners, known)
                    if route != mapped:
                        raise OtherRoute(route, mapped)
                    redacting = self.personal.of(chosen, route, read.sent.inference_id)
                    entry = feedback_entry(read.sent, self.origin, route, redacting)
                case None:
                    return Prepared(None, (), read.refused)
        except RatchetError as error:
            if error.retryable:
                raise
            return Prepared(None, (), error)
        return Prepared(entry, read.left_out, None)

    async def take(
        self, tx: AsyncConnection, prepared: Sequence[Prepared]
    ) -> list[RatchetError | None]:
        entries = [one.entry for one in prepared if one.entry]
        kept = await self.ledger.write(tx, entries) if entries else []
        each = iter(kept)
        refused = [
            (OtherContent() if next(each).is_conflict else None) if one.entry else one.refused
            for one in prepared
        ]
        outcomes = {
            "accepted": sum(one.fresh for one in kept),
            "rejected": sum(error is not None for error in refused),
        }
        outcomes["duplicates"] = len(prepared) - sum(outcomes.values())
        kind = "feedback" if self.mapping.records == "feedback" else "inference"
        left_out = (one.left_out for one in prepared)
        self.tally.add(self.mapping.tenant, kind, outcomes, left_out)
        return refused


def read_record(mapping: Mapping, record: ConsumerRecord) -> Read:
    """Read one record as its mapping says."""
    [read] = read_records(mapping, [record])
    return read


def read_records(mapping: Mapping, records: Sequence[ConsumerRecord]) -> list[Read]:
    """Read records as their mapping says: by one call, or, where one is flawed, each by itself."""
    items: list[JsonObject | RecordRefused] = []
    for record in records:
        try:
            items.append(item_of(mapping, record))
        except RecordRefused as error:
            items.append(error)
    given = [item for item in items if isinstance(item, dict)]
    try:
        if mapping.records == "feedback":
            sent: Iterator[SentInference | SentFeedback] = iter(validated(given, SentFeedback))
        else:
            sent = iter(validated(given, SentInference))
    except ValueError:
        return [looked_at(mapping, item) for item in items]
    return [
        Read(next(sent)) if isinstance(item, dict) else Read(None, refused=item) for item in items
    ]


def validated(items: list[JsonObject], shape: type[Shape]) -> list[Shape]:
    return together(shape).validate_python(items)


def looked_at(mapping: Mapping, item: JsonObject | RecordRefused) -> Read:
    """Take an item as it is or mended, or say why there is none."""
    if not isinstance(item, dict):
        return Read(None, refused=item)
    try:
        if mapping.records == "feedback":
            return Read(*look(item, SentFeedback))
        return Read(*look(item, SentInference))
    except Unusable as error:
        return Read(None, refused=RecordUnusable(str(error)))


def item_of(mapping: Mapping, record: ConsumerRecord) -> JsonObject:
    """Return what a record says, not yet validated. Raises RecordRefused."""
    if record.value is None:
        raise Tombstone
    if len(record.value) > MOST_RECORD_BYTES:
        raise RecordTooLarge(len(record.value))
    framed = record.value.startswith(SCHEMA_MARK)
    try:
        said = unpacked(read_item(record.value[SCHEMA_BYTES:] if framed else record.value))
    except Unreadable as error:
        raise RecordUnreadable(str(error)) from error
    if not isinstance(said, dict | list):
        raise RecordUnreadable("is no object")
    item = mapping.item(said)
    item["client_id"] = client_id_of(mapping.id_in(said), record)
    return item


def client_id_of(said: object, record: ConsumerRecord) -> str:
    """Return the id under which a record is taken once: the app's own, or its place in the topic.

    An id that is too long for one, or no plain text, goes by its digest.
    """
    if isinstance(said, bool) or said is None or said == "":
        return event_id_of(record)
    text = said if isinstance(said, str) else repr(said)
    if ID.fullmatch(text):
        return text
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()}"
