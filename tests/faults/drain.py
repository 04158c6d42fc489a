"""Wait until nothing is on the way any more: every event digested by every consumer, every outbox
empty, every job ended.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.faults.domain import is_settled
from tests.faults.evidence import Evidence, read_databases
from tests.faults.world import World

WITH_JOBS = ("dataset-builder", "trainer", "evaluator")
LOOK_SECONDS = 0.5
QUIET_LOOKS = 2  # a job that ends between two looks may have started another one


async def drain(world: World, seconds: float = 60.0) -> Counter[str]:
    """What was still on the way after so many seconds without any progress: nothing, when the
    promise holds.
    """
    quiet = 0
    before = (Counter({"everything": 1}), 0)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline and quiet < QUIET_LOOKS:
        evidence = Evidence()
        await read_databases(evidence, world.databases)
        await retry_what_died(world, evidence)
        now = on_the_way(evidence), sum(len(rows) for rows in evidence.outboxes.values())
        quiet = quiet + 1 if now == before and not now[0] else 0
        deadline = loop.time() + seconds if now != before else deadline
        before = now
        await asyncio.sleep(LOOK_SECONDS)
    return before[0]


async def retry_what_died(world: World, evidence: Evidence) -> None:
    """As an operator does: a job whose workers were killed too often waits for a person."""
    for service in WITH_JOBS:
        for job in evidence.tables[service]["jobs"]:
            if job["state"] == "failed" and " died" in (job["error"] or ""):
                await world.call(
                    service,
                    f"/v1/jobs/{job['job_id']}/retry",
                    {"reason": "its workers were killed by a test"},
                )


def on_the_way(evidence: Evidence) -> Counter[str]:
    left = evidence.undigested()
    for service, rows in evidence.outboxes.items():
        left[f"outbox of {service}"] += sum(not row.published for row in rows)
    for service in WITH_JOBS:
        jobs = evidence.tables[service]["jobs"]
        left[f"jobs of {service}"] += sum(not is_settled(job, jobs) for job in jobs)
    return +left
