"""Where an answer came from: what the services say, joined from the answer to the reviewers.

inference (router) -> adapter (trainer) -> gate (evaluator) -> dataset and its rows
(dataset-builder) -> reviewers
"""

from __future__ import annotations

from collections import Counter

from infra.cli.client import Client, Refused
from schemas.base import JsonObject

DEFAULT_ROWS = 5


def gather(client: Client, inference_id: str, rows: int = DEFAULT_ROWS) -> JsonObject:
    """Collect what is known; what a service no longer has is None, and the chain ends there."""
    inference = client.get("router", f"/v1/inferences/{inference_id}")
    adapter_id = adapter_behind(inference)
    trained = known(client, "trainer", f"/v1/adapters/{adapter_id}") if adapter_id else None
    dataset_id = trained and trained["dataset_id"]
    return {
        "inference": inference,
        "adapter_id": adapter_id,
        "adapter": trained,
        "evaluation": newest_evaluation(client, adapter_id) if adapter_id else None,
        "dataset_id": dataset_id,
        "dataset": (
            known(client, "dataset-builder", f"/v1/datasets/{dataset_id}") if dataset_id else None
        ),
        **(
            training_rows(client, dataset_id, rows) if dataset_id else {"rows": [], "reviewers": {}}
        ),
    }


def adapter_behind(inference: JsonObject) -> str | None:
    """Return the adapter that answered, or the one that was asked first and was not sure."""
    asked = [
        attempt["adapter_id"]
        for attempt in inference.get("attempts", ())
        if attempt.get("adapter_id")
    ]
    return inference.get("adapter_id") or (asked[0] if asked else None)


def newest_evaluation(client: Client, adapter_id: str) -> JsonObject | None:
    page = client.get("evaluator", "/v1/evaluations", adapter_id=adapter_id, limit=1)
    return page["items"][0] if page["items"] else None


def training_rows(client: Client, dataset_id: str, shown: int) -> JsonObject:
    """Return the first rows, and over all of them how many each reviewer gave."""
    rows = list(client.items("dataset-builder", f"/v1/datasets/{dataset_id}/rows", split="train"))
    return {
        "rows": rows[:shown],
        "training_rows": len(rows),
        "reviewers": dict(Counter(row["reviewer"] for row in rows).most_common()),
    }


def known(client: Client, service: str, path: str) -> JsonObject | None:
    try:
        return client.get(service, path)
    except Refused as refused:
        if refused.code == 404:
            return None
        raise
