"""A route that reads phone numbers: an adapter sees numbers to copy, and nobody's own is kept."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests import factories
from tests.pipeline.test_story import SAID, World, world  # noqa: F401 - a fixture

PHONE = re.compile(r"\(415\) \d{3}-\d{4}")
ASKED = [
    f"{text}. Call me: (415) 555-{1000 + number}"
    for number, text in enumerate(text for texts in SAID.values() for text in texts)
]
SPEC = factories.spec(
    task="extraction",
    labels=(),
    label_descriptions={},
    output_schema={"type": "object", "properties": {"phone": {"type": "string"}}},
    detailed_prompt="Return the phone number as JSON.",
    system_prompt="Return the phone number as JSON.",
    review={"rate": 1.0, "audit_rate": 0.0},
    minimum_rows=4,
    minimum_per_label=None,
    retrain={"min_new_verdicts": 1000},
    personal={"phone": "surrogate"},
    max_tokens=64,
)


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def reading(_: str, messages: list[dict[str, Any]]) -> tuple[str, float]:
    """A model that finds the number, and writes it in its own way."""
    [phone] = PHONE.findall(messages[-1]["content"])
    return json.dumps({"phone": f"+1{digits(phone)}"}), -1.5


async def corrected(world: World, count: int) -> None:  # noqa: F811
    """Correct all answers: of one half by what the page shows, of the other by what was asked."""
    done = 0
    async with asyncio.timeout(180):
        while done < count:
            taken = await world.call("review", "/v1/queue/next", {})
            if taken.status_code != 200:
                await asyncio.sleep(0.05)
                continue
            item = taken.json()
            shown = item["messages"][-1]["content"]
            [phone] = PHONE.findall(shown)
            assert digits(json.loads(item["answer"])["phone"]) == f"1{digits(phone)}"
            if done % 2:
                asked = next(one for one in ASKED if one[:20] == shown[:20])
                [phone] = PHONE.findall(asked)
            body = {"verdict": "corrected", "answer": json.dumps({"phone": digits(phone)})}
            await world.call("review", f"/v1/items/{item['item_id']}/verdict", body)
            done += 1


def stored(folder: Path) -> Iterator[str]:
    """Everything in tables and artifacts, as text."""
    for file in folder.rglob("*.db"):
        with sqlite3.connect(file) as db:
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                for row in db.execute(f'SELECT * FROM "{table}"'):
                    yield from map(as_text, row)
    for file in (folder / "artifacts").rglob("*"):
        if file.suffix == ".parquet":
            yield json.dumps(pq.read_table(file).to_pylist(), default=str)
        elif file.is_file():
            yield as_text(file.read_bytes())


def as_text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return zlib.decompress(value).decode()
    except zlib.error:
        return value.decode("utf-8", "replace")


@pytest.mark.timeout(540)
async def test_rows_hold_a_number_to_copy_and_no_number_of_a_customer(
    world: World,  # noqa: F811
    tmp_path: Path,
) -> None:
    world.engines["serving"].answers = reading
    await world.call("router", "/v1/routes", SPEC.model_dump(mode="json"))
    async with asyncio.timeout(90):
        while not await heard(world):
            await asyncio.sleep(0.05)
    half = len(ASKED) // 2
    for text in ASKED[:half]:
        given = (await world.ask(text))["choices"][0]["message"]["content"]
        assert digits(json.loads(given)["phone"]) == f"1{digits(PHONE.findall(text)[0])}"
    told = [
        {
            "route": "support-triage",
            "input": text,
            "answer": reading("", [{"content": text}])[0],
            "model": "other",
            "metadata": {"phone": digits(PHONE.findall(text)[0])},
        }
        for text in ASKED[half:]
    ]
    await world.call("capture", "/v1/inferences", {"inferences": told})
    await corrected(world, len(ASKED))
    while len(world.log.events("review-completed")) < len(ASKED):
        await asyncio.sleep(0.05)
    body = {"reason": "to see its rows"}
    await world.call("dataset-builder", f"/v1/routes/{factories.ROUTE}/datasets", body)
    dataset = await world.event("dataset-built")
    rows = [
        row
        for split in ("train", "validation", "test")
        for row in (
            await world.call(
                "dataset-builder",
                f"/v1/datasets/{dataset['dataset_id']}/rows?split={split}&limit=200",
            )
        ).json()["items"]
    ]
    assert len(rows) == len(ASKED)
    for row in rows:
        [phone] = PHONE.findall(json.dumps(row["messages"]))
        assert json.loads(row["answer"]) == {"phone": digits(phone)}
    everything = [*stored(tmp_path), *(json.dumps(said) for _, said in world.log.history)]
    assert sum("(415) " in text for text in everything) > 2 * len(ASKED)
    assert any("Otherwise on this route: phone surrogate." in text for text in everything)
    for text in ASKED:
        [phone] = PHONE.findall(text)
        assert not any(phone[-8:] in one or digits(phone) in one for one in everything)


async def heard(world: World) -> bool:  # noqa: F811
    """Whether capture and review know the route."""
    for name in ("capture", "review"):
        service = world.services[name]
        async with service.db.read() as connection:
            table = service.metadata.tables["routes"]
            if not (await connection.execute(table.select())).all():
                return False
    return True
