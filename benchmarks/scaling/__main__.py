"""python -m benchmarks.scaling --out results      needs KAFKA_HOME (or a Kafka beside the
repository), Java, and PostgreSQL's binaries

Fills `inference-recorded` first, then starts N review processes and takes the time until their
database holds every inference. Each N gets a new log and a new database. Postgres flushes to disk
at each commit, as in production.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from schemas.base import Event, uuid7
from schemas.events import InferenceRecorded
from shared.events import cloudevent_headers
from tests import factories
from tests.kafka import ApacheKafka, apache_missing, free_port
from tests.postgres import PostgresServer, postgres_missing

# the key of the topic is the route: with fewer routes than partitions some consumers would have
# nothing to do
ROUTES = 48
PATIENCE_SECONDS = 600


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for scaling.json and scaling.svg"
    )
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--consumers", type=int, nargs="+", default=[1, 2, 4])
    chosen = parser.parse_args()
    for missing in filter(None, (apache_missing(), postgres_missing())):
        sys.exit(f"cannot measure here: {missing}")
    found = [asyncio.run(measure(n, chosen.events)) for n in chosen.consumers]
    report(found, chosen.events, chosen.out)


async def measure(consumers: int, events: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        folder = Path(work)
        kafka = stack.enter_context(ApacheKafka(folder / "kafka"))
        postgres = stack.enter_context(PostgresServer(folder, durable=True))
        url = postgres.new_database()
        await fill(kafka.servers, events)
        processes = [
            stack.enter_context(review(number, kafka.servers, url, folder))
            for number in range(consumers)
        ]
        first = await digested(url, 1)
        began = time.monotonic()
        load = os.getloadavg()[0]
        await digested(url, events)
        seconds = time.monotonic() - began
        cpu = sum(cpu_seconds(process.pid) for process in processes)
    Console().print(f"{consumers} consumers: {(events - first) / seconds:.0f} events/s")
    return {
        "consumers": consumers,
        "events_per_second": (events - first) / seconds,
        "cpu_seconds_of_consumers": cpu,
        "load": load,
    }


async def fill(servers: str, events: int) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
        names = [f"acme/route-{number}" for number in range(ROUTES)]
        for name in names:
            await send(
                producer, factories.route_changed(route=name, spec=factories.spec(name=name))
            )
        for number in range(events):
            await send(producer, inference(names[number % ROUTES]))
        await producer.flush()


def inference(route: str) -> InferenceRecorded:
    return factories.inference(route=route, inference_id=uuid7())


async def send(producer: AIOKafkaProducer, event: Event) -> None:
    headers = [
        (name, value.encode()) for name, value in cloudevent_headers(event, "router").items()
    ]
    await producer.send(
        event.topic_name(),
        event.model_dump_json().encode(),
        key=event.route.encode(),
        headers=headers,
    )


@contextmanager
def review(number: int, servers: str, database: str, folder: Path) -> Iterator[subprocess.Popen]:
    """A replica of the service, as in production."""
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "KAFKA_INSTANCE_ID": f"replica-{number}",
        "DATABASE_URL": database,
        "PORT": str(free_port()),
        "REVIEW_SALT": "benchmark",
        "RATCHET_KEYS_FILE": str(folder / "keys.json"),
        "ARTIFACTS_URL": f"file://{folder}",
    }
    with (folder / f"review-{number}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.review"],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


async def digested(database: str, at_least: int) -> int:
    """Waits for that many inferences; returns how many there are."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    connection = await asyncpg.connect(database.replace("+asyncpg", ""))
    try:
        while time.monotonic() < deadline:
            if await connection.fetchval("select to_regclass('items')"):
                count = await connection.fetchval("select count(*) from items")
                if count >= at_least:
                    return count
            await asyncio.sleep(0.1)
        raise TimeoutError(
            f"fewer than {at_least} inferences were digested within {PATIENCE_SECONDS} s"
        )
    finally:
        await connection.close()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(found: list[dict[str, float]], events: int, out: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(
        json.dumps({"events": events, "cores": os.cpu_count(), "runs": found}, indent=1)
    )
    table = Table(
        "consumers",
        "events/s",
        "CPU seconds of all consumers",
        "load before",
        title=f"review, {events} inferences, {os.cpu_count()} cores",
    )
    for row in found:
        table.add_row(
            str(row["consumers"]),
            f"{row['events_per_second']:.0f}",
            f"{row['cpu_seconds_of_consumers']:.1f}",
            f"{row['load']:.1f}",
        )
    Console().print(table)
    figure, axes = plt.subplots(figsize=(5, 3))
    axes.plot(
        [row["consumers"] for row in found], [row["events_per_second"] for row in found], "o-"
    )
    axes.set(
        xlabel="consumers", ylabel="events/s", ylim=(0, None), title="review on Kafka and Postgres"
    )
    figure.savefig(out / "scaling.svg", bbox_inches="tight")


if __name__ == "__main__":
    main()
