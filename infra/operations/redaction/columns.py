"""Which columns of which tables hold what people wrote, or may; why the others do not.

A test holds this list against every table that the services make: a new table is either gone over
or says why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.operations.redaction import walks
from infra.operations.redaction.walks import Walk


@dataclass(frozen=True)
class Texts:
    """A table with the columns that hold texts.

    `promised`: another table and its column that says of rows with the same inference_id that the
    answer stored here is the one that was given. Of a changed one that is not true any more.
    """

    table: str
    columns: Mapping[str, Walk]
    promised: tuple[str, str] | None = None


PLUMBING = (
    Texts("outbox", {"payload": walks.event}),
    Texts("dead_letters", {"body": walks.event}),
)
JOBS = (
    Texts("jobs", {"payload": walks.order, "error": walks.text}),
    Texts("job_history", {"reason": walks.text}),
)

TEXTS: Mapping[str, tuple[Texts, ...]] = {
    "capture": PLUMBING,
    "router": (
        *PLUMBING,
        Texts("decisions", {"event": walks.event_text}, promised=("repeats", "is_whole")),
        Texts("route_history", {"because": walks.text}),
    ),
    "review": (
        *PLUMBING,
        Texts(
            "items",
            {
                "asked": walks.packed,
                "metadata": walks.record,
                "suggestion": walks.answer,
                "answer": walks.answer,
                "slices": walks.record,
                "disagreement": walks.record,
            },
        ),
        Texts("comparisons", {"asked": walks.packed}),
    ),
    "dataset-builder": (
        *PLUMBING,
        *JOBS,
        Texts(
            "verdicts",
            {
                "messages": walks.turns,
                "answer": walks.answer,
                "model_answer": walks.answer,
                "slices": walks.record,
            },
        ),
        Texts("feedback", {"text": walks.text}),
        Texts("builds", {"lost_labels": walks.record, "refusal": walks.refusal}),
        Texts("datasets", {"event": walks.event_text}),
    ),
    "trainer": (*PLUMBING, *JOBS),
    "evaluator": (*PLUMBING, *JOBS),
}

IDS = "ids, times, counts and digests"
OPERATORS = "what operators wrote into a route, which serves as it is written"
EVERYWHERE = {
    "inbox": IDS,
    "consumer_pauses": IDS,
    "relay_lease": IDS,
    "routes": OPERATORS,
    "job_turns": IDS,
}
OTHERS: Mapping[str, Mapping[str, str]] = {
    "capture": {
        "ledger": "digests: of a text that today's rules redact otherwise, the same id sent again"
        " is a conflict and no repeat",
        "mapping_fits": IDS,
    },
    "router": {
        "calibrations": "numbers",
        "evaluations": "numbers, and reasons in words of the evaluator's",
        "canaries": IDS,
        "canary_waiting": IDS,
        "outcomes": IDS,
        "trials": IDS,
        "shadows": "digests of two answers, compared with each other; they were made of what the"
        " rules of their day left",
        "repeats": "digests, and whether an answer is whole: see `promised`",
    },
    "review": {
        "drift_batches": IDS,
        "secrets": "made at random",  # pragma: allowlist secret
        "skips": IDS,
        "budgets": IDS,
        "concluded": IDS,
    },
    "dataset-builder": {"requests": IDS},
    "trainer": {"adapters": "where each adapter is, and numbers"},
    "evaluator": {
        "populations": IDS,
        "monitors": "numbers",
        "drift_alarms": "numbers",
        "observations": "labels of the route, and counts of trigrams by hash",
        "evaluations": "numbers",
        "pairings": IDS,
        "judgements": IDS,
        "contests": "numbers; the file that its report will show is named (`files.py`)",
        "waiting_adapters": IDS,
        "reviews": "numbers",
        "answered": "numbers",
        "feedback": "ids and ratings",
        "looks": "digests of right answers: of an answer that was changed here, a later look by"
        " somebody else counts as another answer",
    },
}


def untouched(service: str) -> Mapping[str, str]:
    """Return the tables of a service that are not gone over, with the reason of each."""
    return {**EVERYWHERE, **OTHERS[service]}
