"""While the event log is away capture takes what fits its disk budget, then says 503 and when to
come again; afterwards it goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.events import backlog
from shared.events.sending import BrokerUnavailable, Delivery, OutboxRow
from tests.unit.capture.conftest import Capture, Published, serve

PATH = "/v1/inferences"
BUDGET = 20_000  # some twenty events
AMPLE = 10**9


class Away(Published):
    """A sender whose log refuses until it is `back`."""

    back = False

    async def send(self, rows: Sequence[OutboxRow]) -> Delivery:
        if not self.back:
            raise BrokerUnavailable(ConnectionError("nobody listens"))
        return await super().send(rows)


@asynccontextmanager
async def capture(
    url: str, keys: dict[str, str], folder: Path, budget: int
) -> AsyncIterator[Capture]:
    service = await serve(url, keys, folder, sender=Away(), outbox_budget_bytes=budget)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service.api), base_url="http://capture"
    ) as http:
        yield Capture(service, http, keys)
    await service.db.close()


def batch(number: int) -> dict[str, object]:
    items = [
        {
            "client_id": f"c-{number}-{n}",
            "route": "support-triage",
            "input": "Where is my parcel?",
            "answer": "delivery",
        }
        for n in range(5)
    ]
    return {"inferences": items}


async def until_refused(served: Capture, batches: int = 40) -> tuple[int, httpx.Response | None]:
    """How many batches were taken, and the answer to the one that was not."""
    for number in range(batches):
        reply = await served.post(PATH, batch(number))
        if reply.status_code != 202:
            return number, reply
    return batches, None


async def test_beyond_the_budget_clients_are_told_when_to_come_again(
    database_url: str, keys: dict[str, str], tmp_path: Path
) -> None:
    async with capture(database_url, keys, tmp_path, BUDGET) as served:
        taken, reply = await until_refused(served)
        assert 0 < taken < 40
        assert reply is not None
        assert (reply.status_code, reply.headers["retry-after"], reply.json()["error"]) == (
            503,
            "30",
            "BacklogFull",
        )
        assert "OUTBOX_BUDGET_BYTES" in reply.json()["detail"]
        assert (
            await served.post(
                "/v1/feedback", {"inference_id": "x", "route": "support-triage", "rating": 1}
            )
        ).status_code == 503
        await served.events()
        # of what was refused nothing was stored, of what was taken all is there
        assert await served.service.relay.pending() == 5 * taken
        served.service.sender.back = True
        assert len(await served.events()) == 5 * taken
        again = await served.post(PATH, batch(taken))
        assert (again.status_code, again.json()["accepted"]) == (202, 5)


async def test_a_restarted_service_knows_what_waits(
    database_url: str, keys: dict[str, str], tmp_path: Path
) -> None:
    async with capture(database_url, keys, tmp_path, AMPLE) as served:
        # the negative control: without a budget all is taken
        assert await until_refused(served) == (
            40,
            None,
        )
        counted = served.service.outbox.backlog.waiting
    async with capture(database_url, keys, tmp_path, BUDGET) as served:
        taken, reply = await until_refused(served)
        assert (taken, reply.status_code if reply else None) == (0, 503)
        assert served.service.outbox.backlog.waiting == counted


async def test_what_another_replica_sent_makes_room(
    database_url: str, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "READ_SECONDS", 0.0)
    async with (
        capture(database_url, keys, tmp_path, BUDGET) as served,
        capture(database_url, keys, tmp_path, BUDGET) as other,
    ):
        taken, _ = await until_refused(served)
        other.service.sender.back = True
        assert len(await other.events()) == 5 * taken
        await served.post(PATH, batch(taken))  # still refused, and it makes the service look
        await served.service.outbox.backlog._reading
        assert (await served.post(PATH, batch(taken))).status_code == 202


async def test_a_repeat_takes_no_room(
    database_url: str, keys: dict[str, str], tmp_path: Path
) -> None:
    async with capture(database_url, keys, tmp_path, BUDGET) as served:
        assert [(await served.post(PATH, batch(1))).status_code for _ in range(40)] == [202] * 40
