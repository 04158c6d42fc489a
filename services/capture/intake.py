"""One request from its bytes to its receipt: parse, find the route, redact, record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter as Metric

from services.capture.parsing import Parsed, Rejection, parse
from services.capture.ports import Contents, Entry, Kept, Ledger, Owner
from services.capture.recording import Inferences, feedback_entry
from services.capture.shapes import Sent, SentFeedback, SentInference
from shared.errors import Invalid, NotFound, RatchetError, Retryable
from shared.http.auth import Principal
from shared.rules.routes import RouteUnknown

SLOW_BYTES = (
    64 * 1024
)  # parsing and redacting more than this takes some 10 ms: not on the event loop
MOST_REQUESTS = 1000  # half a second of work
MOST_BYTES = 64 * 1024 * 1024
CAPTURED = Metric(
    "ratchet_captured_total", "Items sent to capture, by kind and outcome", ["kind", "outcome"]
)


class RouteNeeded(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "capture did not record this inference itself: add 'route', the name of the route that"
            " answered"
        )


class InferenceUnknown(NotFound):
    def __init__(self, inference_id: str) -> None:
        super().__init__(f"no inference '{inference_id}'")


class Busy(Retryable):
    retry_after = 1

    def __init__(self, requests: int) -> None:
        super().__init__(
            f"{requests} requests are being recorded: nothing of this one was stored, send it again"
        )


@dataclass(frozen=True)
class Limits:
    items: int
    unpacked_bytes: int


@dataclass(frozen=True)
class Receipt:
    """`ids` by index of the item: null where it was rejected."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    ids: tuple[str | None, ...]

    def counts(self) -> dict[str, int]:
        return {
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": len(self.rejected),
        }


class Intake:
    def __init__(self, ledger: Ledger, contents: Contents, limits: Limits) -> None:
        self.ledger = ledger
        self.contents = contents
        self.limits = limits
        self._routes: dict[str, set[str]] = {}
        self._counts: dict[str, Counter[str]] = {}
        self._requests = self._bytes = 0  # at work

    def stats(self, tenant: str) -> dict[str, int]:
        counts = self._counts.get(tenant, Counter())
        return {outcome: counts[outcome] for outcome in ("accepted", "duplicates", "rejected")}

    async def inferences(self, principal: Principal, body: bytes, encoding: str) -> Receipt:
        with self._admitted(len(body)):
            return await self._inferences(principal, body, encoding)

    async def feedback(self, principal: Principal, body: bytes, encoding: str) -> Receipt:
        with self._admitted(len(body)):
            return await self._feedback(principal, body, encoding)

    @contextmanager
    def _admitted(self, size: int) -> Iterator[None]:
        """More work than this at once would only wait, in memory, for longer than clients do."""
        if self._requests >= MOST_REQUESTS or (self._requests and self._bytes + size > MOST_BYTES):
            raise Busy(self._requests)
        self._requests = self._requests + 1
        self._bytes = self._bytes + size
        try:
            yield
        finally:
            self._requests = self._requests - 1
            self._bytes = self._bytes - size

    async def _inferences(self, principal: Principal, body: bytes, encoding: str) -> Receipt:
        await self.ledger.room()
        slow = is_slow(body, encoding)
        parsed = await self._parse(body, encoding, SentInference, "inferences", slow)
        known = await self._known(principal.tenant, parsed)
        write = Inferences(principal.tenant, len(parsed.items), self.contents).entry
        entries = await self._entries(
            parsed, slow, lambda sent: write(sent, find_route(sent.route, principal.tenant, known))
        )
        return await self._record("inference", principal.tenant, parsed, entries)

    async def _feedback(self, principal: Principal, body: bytes, encoding: str) -> Receipt:
        await self.ledger.room()
        slow = is_slow(body, encoding)
        parsed = await self._parse(body, encoding, SentFeedback, "feedback", slow)
        known = await self._known(principal.tenant, parsed)
        owners = await self.ledger.owners(
            sorted({sent.inference_id for sent in parsed.items.values()})
        )
        entries = await self._entries(
            parsed,
            slow,
            lambda sent: feedback_entry(
                sent,
                principal.tenant,
                route_judged(sent, principal.tenant, owners, known),
                principal.id,
            ),
        )
        return await self._record("feedback", principal.tenant, parsed, entries)

    async def _parse(
        self, body: bytes, encoding: str, model: type[Sent], name: str, slow: bool
    ) -> Parsed[Any]:
        arguments = (body, encoding, model, name, self.limits.items, self.limits.unpacked_bytes)
        return await asyncio.to_thread(parse, *arguments) if slow else parse(*arguments)

    async def _known(self, tenant: str, parsed: Parsed[Any]) -> set[str]:
        """The tenant's routes; asks the database again only when a route is named that was not
        known yet.
        """
        named = {f"{tenant}/{bare(sent.route)}" for sent in parsed.items.values() if sent.route}
        known = self._routes.get(tenant, set())
        if not known or named - known:
            known = self._routes[tenant] = await self.ledger.routes(tenant)
        return known

    async def _entries(
        self, parsed: Parsed[Any], slow: bool, entry: Callable[[Any], Entry]
    ) -> dict[int, Entry]:
        return await asyncio.to_thread(make, parsed, entry) if slow else make(parsed, entry)

    async def _record(
        self, kind: str, tenant: str, parsed: Parsed[Any], entries: dict[int, Entry]
    ) -> Receipt:
        kept = await self.ledger.record(list(entries.values())) if entries else []
        receipt = receipt_for(dict(zip(entries, kept, strict=True)), parsed.rejected)
        self._counts.setdefault(tenant, Counter()).update(receipt.counts())
        for outcome, count in receipt.counts().items():
            CAPTURED.labels(kind, outcome).inc(count)
        return receipt


def is_slow(body: bytes, encoding: str) -> bool:
    return len(body) > SLOW_BYTES or bool(encoding)


def make(parsed: Parsed[Any], entry: Callable[[Any], Entry]) -> dict[int, Entry]:
    """The entry of each valid item; an item whose route is wrong joins the rejected."""
    entries = {}
    for index, sent in parsed.items.items():
        try:
            entries[index] = entry(sent)
        except RatchetError as error:
            parsed.rejected.append(Rejection(index, str(error)))
    return entries


def receipt_for(kept: dict[int, Kept], rejected: list[Rejection]) -> Receipt:
    fresh = sum(one.fresh for one in kept.values())
    ids = tuple(
        kept[index].public_id if index in kept else None
        for index in range(len(kept) + len(rejected))
    )
    return Receipt(
        fresh,
        len(kept) - fresh,
        tuple(sorted(rejected, key=lambda rejection: rejection.index)),
        ids,
    )


def bare(route: str) -> str:
    return route.rsplit("/", 1)[-1]


def find_route(route: str, tenant: str, known: set[str]) -> str:
    """The full name; another tenant's route is as unknown as one that does not exist."""
    full = route if "/" in route else f"{tenant}/{route}"
    if full not in known:
        raise RouteUnknown(full)
    return full


def route_judged(sent: SentFeedback, tenant: str, owners: dict[str, Owner], known: set[str]) -> str:
    """Of an inference recorded here, its route; otherwise what the app says, or the tenant's only
    route.
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
