"""A batch of an app's records: taken once and together, each bad one a dead letter by itself; our
own failures pause the consumer, what an app sends never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from sqlalchemy import Column, MetaData, String, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import Invalid, RatchetError, Retryable
from shared.events import brake, consume, records
from shared.events.brake import RUN, ConsumerPaused
from shared.events.outbox import Outbox
from shared.events.records import MOST_UNFIT, RecordConsumer, TakerWaits
from shared.events.sending import Place
from shared.storage.db import Database
from tests.unit.shared.test_brake import Intact, message_of, resume

TOPIC = "shop.chat"


class Refused(Invalid):
    pass


class Away(Retryable):
    pass


class Words:
    """Takes each word once it is one; `broken` fails as our own code does."""

    topic = TOPIC
    version = "mapping 1"
    advice = "look at the mapping"

    def __init__(self, metadata: MetaData) -> None:
        self.fitted: set[str] = set()
        self.table = Table("words", metadata, Column("word", String))
        self.waiting: str | None = None
        self.takes = str.isalpha
        self.broken: set[str] = set()
        self.away = 0
        self.batches: list[int] = []
        self.offered: list[int] = []

    async def waits(self) -> str | None:
        return self.waiting

    async def has_fitted(self) -> bool:
        return self.version in self.fitted

    async def note_that_it_fits(self) -> None:
        self.fitted.add(self.version)

    async def prepare(self, given: Sequence[ConsumerRecord]) -> list[str]:
        self.batches.append(len(given))
        return [(record.value or b"").decode() for record in given]

    async def take(self, tx: AsyncConnection, prepared: Sequence[str]) -> list[RatchetError | None]:
        refused: list[RatchetError | None] = []
        self.offered.append(len(prepared))
        for word in prepared:
            if word in self.broken:
                raise ValueError("a release with a fault")
            if self.away:
                self.away -= 1
                raise Away("try again")
            refused.append(None if self.takes(word) else Refused("no word"))
            if self.takes(word):
                await tx.execute(insert(self.table).values(word=word))
        return refused


class Consumption:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.metadata = MetaData()
        self.outbox = Outbox("capture", self.metadata)
        self.words = Words(self.metadata)
        self.restart()
        self.offset = 0
        self.timestamp = 7

    def restart(self) -> None:
        self.consumer = RecordConsumer(self.words, self.db, self.outbox, Intact())

    async def read(self, *words: str | None, again: bool = False, **headers: str) -> None:
        if again:
            self.offset -= len(words)
        given = [self._record(word, headers) for word in words]
        await self.consumer.digest(message_of(given))

    def _record(self, word: str | None, headers: dict[str, str]) -> ConsumerRecord:
        self.offset += 1
        sent = tuple((name.replace("_", "-"), text.encode()) for name, text in headers.items())
        body = None if word is None else word.encode()
        at = (TOPIC, 0, self.offset, self.timestamp, 0)
        return ConsumerRecord(*at, None, body, 0, 1, len(body or b""), sent)

    async def taken(self) -> list[str]:
        async with self.db.read() as connection:
            return sorted((await connection.execute(select(self.words.table))).scalars())

    async def letters(self) -> list[Any]:
        table = self.outbox.tables.dead_letters
        async with self.db.read() as connection:
            return list((await connection.execute(select(table).order_by(table.c.seq))).all())

    async def copies(self) -> int:
        async with self.db.read() as connection:
            counted = select(func.count()).select_from(self.outbox.table)
            return (await connection.execute(counted)).scalar_one()


@pytest.fixture
async def consumption(db: Database, monkeypatch: pytest.MonkeyPatch) -> Consumption:
    for module in (consume, records):
        monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(brake, "LOOK_SECONDS", -1.0)
    monkeypatch.setattr(consume, "FIRST_BACKOFF", 0.001)
    made = Consumption(db)
    await db.create_tables(made.metadata)
    return made


async def test_a_batch_is_taken_together_and_once(consumption: Consumption) -> None:
    await consumption.read("a", "b", "1", "c")
    await consumption.read("a", "b", "1", "c", again=True)
    consumption.restart()
    await consumption.read("a", "b", "1", "c", "d", again=False)
    assert await consumption.taken() == ["a", "a", "b", "b", "c", "c", "d"]
    letters = await consumption.letters()
    assert [(one.body, one.cause, one.error) for one in letters] == [
        (b"1", "unreadable", "no word")
    ] * 2
    assert [one.event_id for one in letters] == [f"{TOPIC}/0/3/7", f"{TOPIC}/0/7/7"]
    assert await consumption.copies() == 2, "on capture's DLQ"
    assert consumption.words.batches == [4, 4, 5], "nothing was tried alone"


async def test_our_own_failure_costs_one_record_and_no_other(consumption: Consumption) -> None:
    consumption.words.broken = {"bad"}
    await consumption.read("a", "bad", "c")
    assert await consumption.taken() == ["a", "c"]
    [letter] = await consumption.letters()
    assert (letter.body, letter.cause, letter.error_type) == (b"bad", "failed", "ValueError")
    consumption.words.broken = set()
    await consumption.read("bad", x_replay="capture", x_replay_id=letter.event_id)
    assert await consumption.taken() == ["a", "bad", "c"]
    await consumption.read("bad", x_replay="capture", x_replay_id=letter.event_id)
    assert await consumption.taken() == ["a", "bad", "c"], "it is settled"


async def test_our_own_failures_pause_it_and_an_apps_never_do(consumption: Consumption) -> None:
    await consumption.read(*(["1"] * 5 * RUN))
    assert len(await consumption.letters()) == 5 * RUN
    consumption.words.broken = {"bad"}
    await consumption.read(*(["bad"] * RUN))
    with pytest.raises(ConsumerPaused, match="failed on the last 10"):
        await consumption.read("a")
    assert "failed on the last 10" in consumption.consumer.paused_because


async def test_a_mapping_that_fits_no_record_makes_no_letters_of_all(
    consumption: Consumption,
) -> None:
    """The rest waits on the log: for another mapping, or for an operator's word."""
    await consumption.read(*(["1"] * 60))
    words = ["2"] * 500 + ["a", "b"]
    for _ in range(3):
        with pytest.raises(ConsumerPaused, match=r"none of 100 .* \(no word\): look at the map"):
            await consumption.read(*words)
        consumption.offset -= len(words)
        assert len(await consumption.letters()) == MOST_UNFIT
        assert "no word" in consumption.consumer.paused_because
        consumption.restart()
    consumption.words.version = "mapping 2"
    consumption.words.takes = str.isalnum
    consumption.restart()
    await consumption.read(*words)
    assert len(await consumption.taken()) == len(words) - (MOST_UNFIT - 60)
    assert len(await consumption.letters()) == MOST_UNFIT
    assert consumption.consumer.paused_because is None


async def test_an_operators_word_tries_as_many_again(consumption: Consumption) -> None:
    words = ["1"] * 150 + ["a"]
    with pytest.raises(ConsumerPaused):
        await consumption.read(*words)
    await resume(consumption)
    await consumption.read(*words, again=True)
    assert (len(await consumption.letters()), await consumption.taken()) == (150, ["a"])


async def test_a_mapping_that_ever_fitted_pauses_nothing(consumption: Consumption) -> None:
    """The control, across a restart; and records without a value say nothing of a mapping."""
    await consumption.read(*([None] * 3 * MOST_UNFIT), *(["1"] * (MOST_UNFIT - 1)), "a")
    consumption.restart()
    await consumption.read(*(["1"] * 5 * MOST_UNFIT))
    assert len(await consumption.letters()) == 9 * MOST_UNFIT - 1


async def test_what_may_pass_is_tried_again(consumption: Consumption) -> None:
    consumption.words.away = 2
    await consumption.read("a", "b")
    assert (await consumption.taken(), await consumption.letters()) == (["a", "b"], [])


async def test_it_waits_for_what_it_needs(consumption: Consumption) -> None:
    consumption.words.waiting = "no route 'a/b'"
    with pytest.raises(TakerWaits, match=r"reading shop\.chat waits: no route 'a/b'"):
        await consumption.read("a")
    assert consumption.consumer.paused_because == "no route 'a/b'"
    consumption.words.waiting = None
    await consumption.read("a", again=True)
    assert (await consumption.taken(), consumption.consumer.paused_because) == (["a"], None)


async def test_headers_of_an_app_are_no_ids(consumption: Consumption) -> None:
    await consumption.read("a", "b", "c", id="order-service", ce_id="1")
    assert await consumption.taken() == ["a", "b", "c"]


async def test_a_batch_that_comes_again_in_pieces_makes_no_letter_twice(
    consumption: Consumption,
) -> None:
    """The inbox has the end of a batch and its letters; the rest is the taker's to know."""
    await consumption.read("a", "1", "b", "2", "c")
    consumption.offset -= 5
    await consumption.read("a", "1")
    await consumption.read("b", "2")
    assert len(await consumption.letters()) == 2
    assert consumption.words.offered == [5, 0, 0], "each piece ends with a letter"
    consumption.offset -= 4
    await consumption.read("a")
    assert consumption.words.offered[-1] == 1, "nothing says so of it: its taker has to know"
    consumption.offset += 3
    await consumption.read("d")
    consumption.offset -= 2
    await consumption.read("c", "d", "e")
    assert consumption.words.offered[-1] == 1


async def test_a_topic_that_was_made_anew_is_not_the_one_that_was_read(
    consumption: Consumption,
) -> None:
    """Its offsets are the same: whoever went by them alone would leave its records out."""
    await consumption.read("a", "b", "1")
    consumption.timestamp += 1
    await consumption.read("c", "d", "2", again=True)
    assert await consumption.taken() == ["a", "b", "c", "d"]
    assert len(await consumption.letters()) == 2
    consumption.timestamp -= 1
    await consumption.read("a", "b", "1", again=True)
    assert await consumption.taken() == ["a", "b", "c", "d"], "the control"


async def test_what_the_last_release_entered_is_known(consumption: Consumption) -> None:
    """It entered each record by itself."""
    async with consumption.db.transaction() as tx:
        for offset in range(1, 4):
            place = Place(0, offset)
            await consumption.outbox.first_time(tx, TOPIC, f"{TOPIC}/0/{offset}/7", place)
    await consumption.read("a", "b", "c", "d", "e")
    assert await consumption.taken() == ["d", "e"]


async def test_two_that_read_the_same_letter_keep_one(consumption: Consumption) -> None:
    """The one does not see what the other has just written."""
    await consumption.read("1")

    async def nothing(*_: Any) -> dict[int, int]:
        return {}

    consumption.outbox.digested_to = nothing
    await consumption.read("1", again=True)
    assert len(await consumption.letters()) == 1
