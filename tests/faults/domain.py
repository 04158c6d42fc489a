"""What the tables of the services themselves must say: one item for each inference, one adapter for
each job, no version skipped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.faults.checker import CHECKS, Finding, Verdict, check
from tests.faults.evidence import Evidence


def every_inference_is_looked_at(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    inferences = {row.body["inference_id"] for row in evidence.sent("inference-recorded")}
    met = {
        row["inference_id"]
        for row in evidence.tables["review"]["items"]
        if row["state"] != "awaited" and row["second_of"] is None
    }
    numbers["items"] += len(met)
    yield from missing("lost", "items of review", inferences, met)
    yield from missing("orphan", "items of review", met, inferences)


def verdicts_and_feedback_are_kept(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    given = [row.body for row in evidence.sent("review-completed")]
    # Verdicts on answers that one person has judged already only tell how often reviewers err.
    first = [verdict for verdict in given if not verdict.get("second_of")]
    verdicts = {verdict["review_id"] for verdict in first}
    feedback = {row.body["feedback_id"] for row in evidence.sent("feedback-recorded")}
    numbers["verdicts"] += len(verdicts)
    for service, table in (("dataset-builder", "verdicts"), ("evaluator", "reviews")):
        yield from same(
            f"{table} of {service}",
            verdicts,
            [row["review_id"] for row in evidence.tables[service][table]],
        )
    for service in ("dataset-builder", "evaluator"):
        yield from same(
            f"feedback of {service}",
            feedback,
            [row["feedback_id"] for row in evidence.tables[service]["feedback"]],
        )
    audited = {verdict["review_id"] for verdict in first if verdict["audit"]}
    yield from same(
        "outcomes of router",
        audited,
        [row["review_id"] for row in evidence.tables["router"]["outcomes"]],
    )


def each_event_orders_one_job(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    for service, topic in (("trainer", "dataset-built"), ("evaluator", "adapter-trained")):
        events = {row.event_id for row in evidence.sent(topic)}
        yield from same(
            f"jobs of {service}", events, [row["key"] for row in ordered(evidence, service)]
        )
    for service in ("dataset-builder", "trainer", "evaluator"):
        jobs = ordered(evidence, service)
        for job in jobs:
            numbers[f"jobs {job['state']}"] += 1
            if not is_settled(job, jobs):
                yield Finding(
                    "pending",
                    f"jobs of {service}",
                    f"{job['job_id']} is {job['state']}: {job['error']}",
                )


def ordered(evidence: Evidence, service: str) -> list[dict[str, Any]]:
    """Return the jobs that an event ordered: the evaluator gives itself others, to calibrate once
    more what serves, and to end and begin what people are asked.
    """
    own = ("recalibrate ", "conclude ", "again ")
    jobs = evidence.tables[service]["jobs"]
    return [job for job in jobs if not job["key"].startswith(own)]


def is_settled(job: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> bool:
    """It is finished; or it is a build that was given up, and all its verdicts are in a later one
    (a retry of it is refused).
    """
    route, _, build = job["key"].partition("#")
    later = (other["key"].partition("#") for other in jobs if other["state"] == "finished")
    return job["state"] == "finished" or (
        job["state"] == "failed"
        and any(of == route and int(number or 0) > int(build or 0) for of, _, number in later)
    )


def each_job_has_one_result(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """A zombie that published after its successor shows here: its job has two results."""
    for service, topic, name in (
        ("trainer", "adapter-trained", "job_id"),
        ("evaluator", "adapter-evaluated", "evaluation_id"),
    ):
        results = Counter(row.body[name] for row in evidence.sent(topic))
        numbers[topic] += len(results)
        for job_id, times in results.items():
            if times > 1:
                yield Finding("doubled", topic, f"job {job_id} has {times} results")
        finished = {
            job["job_id"] for job in ordered(evidence, service) if job["state"] == "finished"
        }
        yield from missing("lost", topic, finished, results)
    datasets = Counter(row.body["dataset_id"] for row in evidence.sent("dataset-built"))
    yield from same(
        "datasets",
        set(datasets),
        [row["dataset_id"] for row in evidence.tables["dataset-builder"]["datasets"]],
    )


def routes_move_step_by_step(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """One event for each version, and everybody ends at the last one; an owner's accepted edition
    is in the history.
    """
    history = sorted(evidence.tables["router"]["route_history"], key=lambda row: row["version"])
    versions = [row["version"] for row in history]
    told = sorted(row.body["version"] for row in evidence.sent("route-changed"))
    numbers["route versions"] += len(versions)
    if versions != list(range(1, len(versions) + 1)) or versions != told:
        yield Finding(
            "inconsistent",
            "routes",
            f"history {versions[-3:]} of {len(versions)}, events {told[-3:]} of {len(told)}",
        )
    for service in ("dataset-builder", "trainer", "evaluator"):
        for row in evidence.tables[service]["routes"]:
            if row["version"] != versions[-1]:
                yield Finding(
                    "lost",
                    f"routes of {service}",
                    f"it is at version {row['version']} of {versions[-1]}",
                )
    editions = {
        json.loads(row["state"])["spec"]["label_descriptions"].get("refund") for row in history
    }
    accepted = {
        operation.name
        for operation in evidence.operations
        if operation.kind == "route" and operation.outcome == "ok"
    }
    yield from missing("lost", "routes of router", accepted, editions)


def missing(
    kind: str, where: str, wanted: Iterable[str], there: Iterable[str]
) -> Iterator[Finding]:
    for name in sorted(set(wanted) - set(there)):
        yield Finding(
            kind,
            where,
            f"{name} is missing" if kind == "lost" else f"{name} is there without a cause",
        )


def same(where: str, wanted: set[str], there: list[str]) -> Iterator[Finding]:
    yield from missing("lost", where, wanted, there)
    yield from missing("orphan", where, there, wanted)
    for name, times in Counter(there).items():
        if times > 1:
            yield Finding("doubled", where, f"{name} is there {times} times")


DOMAIN_CHECKS = (
    every_inference_is_looked_at,
    verdicts_and_feedback_are_kept,
    each_event_orders_one_job,
    each_job_has_one_result,
    routes_move_step_by_step,
)


def check_everything(evidence: Evidence) -> Verdict:
    return check(evidence, (*CHECKS, *DOMAIN_CHECKS))
