"""Which tables of a service follow from the log alone, in which columns; why the others do not.

A test holds this list against every table that the services make, so that a new table is either
proven or says why not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta


@dataclass(frozen=True)
class Derived:
    """`columns` must be equal row by row, found by `key`.

    Rows of which `settled` holds in the live database were taken over by a person or a job and are
    left out on both sides. `forgets`: the service deletes rows that it needs no more, once they are
    `forgets_after` old (by the time in the last part of their key), so that the rebuilt table may
    hold more than the live one.
    """

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    settled: str | None = None
    forgets: str | None = None
    forgets_after: timedelta = timedelta(0)
    without: str = ""

    @property
    def name(self) -> str:
        return f"{self.table}, but for {self.settled}" if self.settled else self.table


@dataclass(frozen=True)
class Rebuild:
    """How a service's state is proven.

    `seeds` are tables that its handlers read and that came over HTTP; they are copied first.
    """

    derived: tuple[Derived, ...]
    others: Mapping[str, str]
    seeds: tuple[str, ...] = ()


KEPT = timedelta(days=float(os.environ.get("REVIEW_KEEP_DAYS", "30")))
FORGOTTEN = "answers that nobody was asked to review, after REVIEW_KEEP_DAYS"
PLUMBING = {
    "inbox": "bookkeeping of delivery: 'ratchet reconcile' checks it",
    "dead_letters": "what was undone, which is not fed",
    "consumer_pauses": "when our own code failed, and who let it go on",
    "outbox": (
        "what this service says itself, under new ids each time: 'ratchet reconcile' checks it"
    ),
    "relay_lease": "which process publishes",
}
ROUTES = Derived("routes", ("route",), ("version", "state"))
ORDERED_JOBS = Derived(
    "jobs",
    ("key",),
    ("kind", "route", "payload"),
    without="state, lease, progress and result, which are the worker's, and times",
)

# Jobs that the evaluator gives itself.
OF_ITS_OWN = "kind in ('recalibrate', 'conclude') or key like 'again %'"

ATTEMPTS = {
    "job_history": "attempts at jobs, and what people cancelled or repeated",
    "job_turns": "when each tenant's jobs were last begun",
}

REBUILDS: Mapping[str, Rebuild] = {
    "capture": Rebuild(
        (ROUTES,),
        {
            "ledger": "ids that came over HTTP",
            "mapping_fits": "what a mapping made of records of apps' own topics",
        },
    ),
    "review": Rebuild(
        (
            ROUTES,
            Derived(
                "items",
                ("tenant", "inference_id"),
                ("route", "coin", "unsure", "asked", "provisional_on"),
                settled="second_of is not null",
                forgets=FORGOTTEN,
                forgets_after=KEPT,
                without="item_id, which is a new one each time, and metadata, which older releases"
                " did not keep",
            ),
            Derived(
                "items",
                ("tenant", "inference_id"),
                ("state", "audit", "probability", "reason", "complaint", "suggestion"),
                settled="state = 'done' or second_of is not null",
                forgets=FORGOTTEN,
                forgets_after=KEPT,
                without=(
                    "rank, claims and verdicts, which come from reviewers, and wall-clock times"
                ),
            ),
            Derived("drift_batches", ("route",), ("drift_id", "remaining")),
            Derived("budgets", ("route", "day"), ("taken",)),
            Derived(
                "comparisons",
                ("comparison_id",),
                ("tenant", "route", "evaluation_id"),
                settled="judgement is not null",
                forgets="pairs of answers, after REVIEW_KEEP_DAYS",
                forgets_after=KEPT,
                without="asked, which a judgement empties, and claims and judgements",
            ),
            Derived(
                "concluded",
                ("evaluation_id",),
                ("at",),
                forgets="evaluations that are over, after REVIEW_KEEP_DAYS",
                forgets_after=KEPT,
            ),
        ),
        {
            "secrets": "made at random",  # pragma: allowlist secret
            "skips": "what reviewers did not decide",
        },
    ),
    "dataset-builder": Rebuild(
        (
            ROUTES,
            Derived(
                "verdicts",
                ("review_id",),
                (
                    "route",
                    "trainable",
                    "audit",
                    "verdict",
                    "inference_id",
                    "reviewer",
                    "reviewed_us",
                    "reason",
                    "messages",
                    "answer",
                    "slices",
                ),
                without="build, which counts the builds that had begun",
            ),
            Derived(
                "feedback",
                ("feedback_id",),
                ("route", "inference_id", "kind", "value", "text", "source", "given_us"),
            ),
        ),
        {
            "builds": "how builds went, and builds asked for over HTTP",
            "datasets": "made by jobs",
            "requests": "made by jobs",
            "jobs": "numbered by how builds went, and asked for over HTTP",
            **ATTEMPTS,
        },
    ),
    "trainer": Rebuild((ROUTES, ORDERED_JOBS), {"adapters": "made by jobs", **ATTEMPTS}),
    "evaluator": Rebuild(
        (
            ROUTES,
            replace(
                ORDERED_JOBS, settled="kind in ('recalibrate', 'conclude') or key like 'again %'"
            ),
            Derived(
                "observations",
                ("inference_id",),
                (
                    "route",
                    "adapter_id",
                    "at",
                    "score",
                    "p_correct",
                    "label",
                    "words",
                    "wording",
                    "outcome",
                ),
                forgets="windows that were compared, and answers of former champions",
                without="seq, which is the order of arrival",
            ),
            Derived(
                "reviews",
                ("review_id",),
                (
                    "inference_id",
                    "route",
                    "adapter_id",
                    "arm",
                    "at",
                    "verdict",
                    "audit",
                    "probability",
                    "score",
                    "asked",
                    "reason",
                    "predicted",
                ),
            ),
            Derived(
                "answered",
                ("route", "day", "arm", "adapter_id"),
                ("since", "answers", "predicted", "squared"),
            ),
            Derived("feedback", ("feedback_id",), ("inference_id", "route", "kind", "value", "at")),
            Derived(
                "looks",
                ("review_id",),
                ("inference_id", "route", "reviewer", "verdict", "answer", "is_second"),
            ),
            Derived(
                "judgements",
                ("comparison_id", "judge"),
                ("judgement", "given_by"),
            ),
        ),
        {
            "populations": "for what was calibrated, by what the engine answered",
            "monitors": "moved by the watch, which compares windows in its own time",
            "drift_alarms": "raised by the watch",
            "evaluations": "made by jobs",
            "pairings": "made by jobs",
            "contests": "made by jobs",
            "waiting_adapters": "made by jobs",
            **ATTEMPTS,
        },
    ),
    "router": Rebuild(
        (
            Derived(
                "calibrations",
                ("calibration_id",),
                ("route", "adapter_id", "fitted_at", "holds_for", "behind", "event"),
            ),
            Derived(
                "evaluations",
                ("evaluation_id",),
                ("route", "adapter_id", "verdict", "evaluated_at", "event"),
                without="decision, which depends on what people did to the route before",
            ),
            Derived(
                "outcomes",
                ("review_id",),
                ("route", "inference_id", "arm", "adapter_id", "verdict", "probability", "at"),
            ),
        ),
        {
            "routes": "made and moved over HTTP, and by canaries",
            "route_history": "as routes",
            "canaries": "begun by a worker",
            "canary_waiting": "questions at the engine now",
            "trials": "counted by a worker, from decisions",
            "shadows": "asked beside what was given over HTTP",
            "decisions": "answers that were given over HTTP",
            "repeats": "as decisions",
        },
        seeds=("routes", "route_history"),
    ),
}


def tables_of(service: str) -> dict[str, str]:
    """Return '' for each table that is compared, and for the others the reason why not."""
    found = REBUILDS[service]
    return {derived.table: "" for derived in found.derived} | dict(found.others) | PLUMBING
