"""Records what upstreams answered, where the app wants it, after the app has it.

The app waits for none of it. What cannot be recorded is counted and logged, never lost in silence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import Counter

from schemas.base import JsonObject
from schemas.events import InferenceRecorded
from services.router.heard import Heard, NothingHeard, heard
from services.router.served import Served
from services.router.store.recorder import Recorder
from shared.describing import describe
from shared.http import read_metadata
from shared.rules import session_hash
from shared.telemetry import log

RECORDED = Counter(
    "ratchet_router_external_total",
    "Answers of other upstreams that an app wanted recorded, by what became of that",
    ["outcome"],
)
# That wait for the database, in number and in bytes.
MOST = 1000
MOST_BYTES = 64 * 1024 * 1024
# Parsing more takes milliseconds: not on the event loop.
SLOW_BYTES = 64 * 1024
# Seconds before each further attempt: two minutes in all, in which a database is back.
PAUSES = (0.2, 1.0, 3.0, 10.0, 20.0, 30.0, 60.0)
# Seconds for what is still to be stored when the service stops.
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class Exchange:
    """One request that went through, and its answer byte by byte."""

    tenant: str
    route: str
    inference_id: str
    door: str
    sent: JsonObject
    # What the header x-ratchet-session told.
    session: str | None
    said: bytes
    is_stream: bool
    occurred_at: datetime
    latency_ms: float


def as_inference(exchange: Exchange) -> InferenceRecorded:
    """Make the event as capture makes it of an answer that it is told. Raises NothingHeard."""
    read: Heard = heard(exchange.door, exchange.sent, exchange.said, exchange.is_stream)
    sent = exchange.sent
    given = sent.get("metadata")
    metadata = read_metadata(given).kept if isinstance(given, dict) else {}
    told = [sent.get("safety_identifier"), sent.get("user"), exchange.session]
    told += [metadata.get("session"), metadata.get("user")]
    who = next((one for one in told if isinstance(one, str) and one), None)
    return InferenceRecorded(
        tenant=exchange.tenant,
        route=exchange.route,
        inference_id=exchange.inference_id,
        messages=read.messages,
        answer=read.answer,
        arm="external",
        model=read.model,
        outcome="external",
        latency_ms=exchange.latency_ms,
        prompt_tokens=read.prompt_tokens,
        completion_tokens=read.completion_tokens,
        metadata=metadata,
        session=session_hash(exchange.route, who),
        occurred_at=exchange.occurred_at,
    )


@dataclass
class Recordings:
    """What waits to be stored: at most so many, in memory."""

    recorder: Recorder
    _going: set[asyncio.Task[None]] = field(default_factory=set)
    _bytes: int = 0

    def add(self, exchange: Exchange) -> None:
        """Have an exchange recorded soon; it never waits."""
        size = len(exchange.said)
        if len(self._going) >= MOST or (self._going and self._bytes + size > MOST_BYTES):
            self.lost(exchange.inference_id, "too many wait")
            return
        self._bytes += size
        task = asyncio.create_task(self._record(exchange))
        self._going.add(task)
        task.add_done_callback(lambda done: self._ended(done, size))

    def lost(self, inference_id: str, why: str) -> None:
        RECORDED.labels("lost").inc()
        log("gateway").warning("an answer was not recorded", inference_id=inference_id, why=why)

    def _ended(self, task: asyncio.Task[None], size: int) -> None:
        self._going.discard(task)
        self._bytes -= size

    async def _record(self, exchange: Exchange) -> None:
        try:
            inference = (
                await asyncio.to_thread(as_inference, exchange)
                if len(exchange.said) > SLOW_BYTES
                else as_inference(exchange)
            )
            await self._store(inference)
        except NothingHeard as error:
            self.lost(exchange.inference_id, str(error))
        except asyncio.CancelledError:
            self.lost(exchange.inference_id, "the router stopped")
            raise
        # Whatever it is: the app was told an id.
        except Exception as error:  # noqa: BLE001
            self.lost(exchange.inference_id, describe(error))
        else:
            RECORDED.labels("recorded").inc()

    async def _store(self, inference: InferenceRecorded) -> None:
        """Store it, with patience: the database may be away, or the backlog full."""
        for pause in PAUSES:
            try:
                await self._attempt(inference)
                return
            # What fails now may pass later; the last attempt raises.
            except Exception as error:  # noqa: BLE001
                log("gateway").info("an answer is recorded later", error=describe(error))
                await asyncio.sleep(pause)
        await self._attempt(inference)

    async def _attempt(self, inference: InferenceRecorded) -> None:
        await self.recorder.check_room()
        await self.recorder.record(Served(inference, None, None, False), "strict")

    async def close(self) -> None:
        """Give what waits a last moment."""
        if not self._going:
            return
        _, late = await asyncio.wait(self._going, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
