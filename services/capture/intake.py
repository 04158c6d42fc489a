"""One request from its bytes to its receipt: parse, find the route, redact, record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.capture.load import Load
from services.capture.mending import LeftOut
from services.capture.parsing import Parsed, Rejection, parse, unpack
from services.capture.recording import Entry, InferenceEntries, Origin, feedback_entry
from services.capture.shapes import SentFeedback, SentInference, Shape
from services.capture.store import Kept, Ledger, Owner, Routes
from services.capture.tally import Tally
from shared.errors import Conflict, Invalid, NotFound, RatchetError
from shared.http import Principal
from shared.privacy import Personal
from shared.rules import RouteUnknown
from shared.storage import BlobStore

# Parsing and redacting more than this takes some 10 ms: not on the event loop.
SLOW_BYTES = 64 * 1024


class RouteNeeded(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "capture did not record this inference itself: add 'route', the name of the route that"
            " answered"
        )


class OtherContent(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "client_id was taken before, with other content, and that is kept: send a changed item"
            " under a client_id of its own"
        )


class InferenceUnknown(NotFound):
    def __init__(self, inference_id: str) -> None:
        super().__init__(f"no inference '{inference_id}'")


@dataclass(frozen=True)
class IntakeLimits:
    """What one request may hold: items, and bytes of its body once unpacked."""

    items: int
    unpacked_bytes: int


@dataclass(frozen=True)
class Receipt:
    """What became of the items of a request; `ids` by index of the item, None where rejected.

    `left_out` says, by index, what of an item that was taken could not be used.
    """

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    ids: tuple[str | None, ...]
    left_out: Mapping[int, Sequence[LeftOut]]

    def counts(self) -> dict[str, int]:
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": len(self.rejected),
        }


class Intake:
    """Takes in requests: all that is valid is durable when a method returns its receipt."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobStore,
        personal: Personal,
        limits: IntakeLimits,
        tally: Tally,
    ) -> None:
        self.ledger = ledger
        self.blobs = blobs
        self.personal = personal
        self.limits = limits
        self.tally = tally
        self._load = Load()

    async def record_inferences(self, principal: Principal, body: bytes, encoding: str) -> Receipt:
        """Record what apps asked other models.

        Raises Busy and BacklogFull when nothing more can be taken now, and the errors of `parse`
        when the body as a whole is unusable.
        """
        async with self._unpacked(principal.tenant, body, encoding) as plain:
            return await self._record_inferences(principal, plain)

    async def record_feedback(self, principal: Principal, body: bytes, encoding: str) -> Receipt:
        """Record what was thought of answers. Raises what `record_inferences` raises."""
        async with self._unpacked(principal.tenant, body, encoding) as plain:
            return await self._record_feedback(principal, plain)

    @asynccontextmanager
    async def _unpacked(self, tenant: str, body: bytes, encoding: str) -> AsyncIterator[bytes]:
        """Admit a request and unpack it; what it unpacks to counts as well.

        Two thousand of 16 KB each would be 16 MiB in memory until they are recorded.
        """
        with self._load.admitted(tenant, len(body)):
            if not encoding:
                yield body
                return
            plain = await asyncio.to_thread(unpack, body, encoding, self.limits.unpacked_bytes)
            with self._load.admitted(tenant, len(plain) - len(body), requests=0):
                yield plain

    async def _record_inferences(self, principal: Principal, body: bytes) -> Receipt:
        await self.ledger.check_room()
        slow = len(body) > SLOW_BYTES
        parsed = await self._parse(body, SentInference, "inferences", slow)
        origin = origin_of(principal)
        tenant = origin.tenant
        known = await self._known_routes(tenant, parsed)
        inferences = InferenceEntries(origin, len(parsed.items), self.blobs, self.personal)

        def entry(sent: SentInference) -> Entry:
            route = find_route(sent.route, tenant, known)
            return inferences.entry(sent, route, known[route])

        entries = await make_entries(parsed, entry, slow)
        return await self._record("inference", tenant, entries, parsed)

    async def _record_feedback(self, principal: Principal, body: bytes) -> Receipt:
        await self.ledger.check_room()
        slow = len(body) > SLOW_BYTES
        parsed = await self._parse(body, SentFeedback, "feedback", slow)
        origin = origin_of(principal)
        tenant = origin.tenant
        known = await self._known_routes(tenant, parsed)
        owners = await self.ledger.owners(
            sorted({sent.inference_id for sent in parsed.items.values()})
        )

        def entry(sent: SentFeedback) -> Entry:
            route = route_judged(sent, tenant, owners, known)
            redacting = self.personal.of(known.get(route, {}), route, sent.inference_id)
            return feedback_entry(sent, origin, route, redacting)

        entries = await make_entries(parsed, entry, slow)
        return await self._record("feedback", tenant, entries, parsed)

    async def _parse(self, body: bytes, shape: type[Shape], name: str, slow: bool) -> Parsed[Shape]:
        def parsed() -> Parsed[Shape]:
            return parse(body, shape, name, self.limits.items)

        return await asyncio.to_thread(parsed) if slow else parsed()

    async def _known_routes(self, tenant: str, parsed: Parsed[Shape]) -> Routes:
        named = {f"{tenant}/{bare(sent.route)}" for sent in parsed.items.values() if sent.route}
        return await self.ledger.routes(tenant, named)

    async def _record(
        self, kind: str, tenant: str, entries: dict[int, Entry], parsed: Parsed[Shape]
    ) -> Receipt:
        kept = await self.ledger.record(list(entries.values())) if entries else []
        receipt = receipt_for(dict(zip(entries, kept, strict=True)), parsed)
        self.tally.add(tenant, kind, receipt.counts(), receipt.left_out.values())
        return receipt


def origin_of(principal: Principal) -> Origin:
    return Origin(principal.tenant, principal.application, principal.id)


async def make_entries(
    parsed: Parsed[Shape], entry: Callable[[Shape], Entry], slow: bool
) -> dict[int, Entry]:
    return await asyncio.to_thread(entries_of, parsed, entry) if slow else entries_of(parsed, entry)


def entries_of(parsed: Parsed[Shape], entry: Callable[[Shape], Entry]) -> dict[int, Entry]:
    """Make the entry of each valid item; an item whose route is wrong joins the rejected."""
    entries = {}
    for index, sent in parsed.items.items():
        try:
            entries[index] = entry(sent)
        except RatchetError as error:
            parsed.rejected.append(Rejection(index, str(error)))
    return entries


def receipt_for(kept: dict[int, Kept], parsed: Parsed[Shape]) -> Receipt:
    taken = {index: one for index, one in kept.items() if not one.is_conflict}
    conflicts: list[Rejection] = [
        Rejection(index, str(OtherContent()), is_conflict=True)
        for index, one in kept.items()
        if one.is_conflict
    ]
    rejected = sorted([*parsed.rejected, *conflicts], key=lambda rejection: rejection.index)
    fresh = sum(one.fresh for one in taken.values())
    ids = tuple(
        taken[index].public_id if index in taken else None
        for index in range(len(taken) + len(rejected))
    )
    left_out = {index: parsed.left_out[index] for index in sorted(parsed.left_out.keys() & taken)}
    return Receipt(fresh, len(taken) - fresh, tuple(rejected), ids, left_out)


def bare(route: str) -> str:
    return route.rsplit("/", 1)[-1]


def find_route(route: str, tenant: str, known: Routes) -> str:
    """Return the full name. Raises RouteUnknown, for another tenant's route as well."""
    full = route if "/" in route else f"{tenant}/{route}"
    if full not in known:
        raise RouteUnknown(full)
    return full


def route_judged(sent: SentFeedback, tenant: str, owners: dict[str, Owner], known: Routes) -> str:
    """Return the route that feedback is about.

    Where capture recorded the inference it is that one's; otherwise what the app says, or the
    tenant's only route.
    """
    if owner := owners.get(sent.inference_id):
        if owner.tenant != tenant:
            raise InferenceUnknown(sent.inference_id)
        return owner.route
    if sent.route:
        return find_route(sent.route, tenant, known)
    if len(known) != 1:
        raise RouteNeeded
    return next(iter(known))
