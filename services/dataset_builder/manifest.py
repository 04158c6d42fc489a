"""What a dataset says about itself: manifest.json for machines, README.md for people. Equal content
gives equal bytes: neither the time of the build nor the order in which verdicts arrived is in it.
"""

from __future__ import annotations

import json
from collections import Counter

from schemas.base import JsonObject
from schemas.events import SplitSizes
from schemas.route import RouteSpec
from services.dataset_builder.curate import DUPLICATE, LEAK, Curated
from services.dataset_builder.split import SHARES, Splits

FORMAT = "ratchet-dataset/1"
SPLITS = ("train", "validation", "test", "audit")


def facts(
    spec: RouteSpec,
    parts: Splits,
    curated: Curated,
    left_out: Counter[str],
    parent: str | None,
) -> JsonObject:
    """Return the manifest, but for the digests of the files.

    `left_out` are the verdicts that gave no row, by reason.
    """
    everyone = [candidate for name in SPLITS for candidate in parts[name]]
    return {
        "format": FORMAT,
        "route": spec.name,
        "task": spec.task,
        "parent": parent,
        "spec": spec.model_dump(mode="json"),
        "counts": {name: len(parts[name]) for name in SPLITS},
        "labels": {
            name: in_order(Counter(one.label for one in parts[name] if one.label))
            for name in SPLITS
        },
        # Adding drops the reasons that never occurred.
        "dropped": in_order(curated.dropped + left_out),
        "noticed": in_order(curated.noticed),
        "label_sources": in_order(Counter(one.row.label_source for one in everyone)),
        "reviewers": in_order(Counter(one.row.reviewer for one in everyone)),
        "clusters": len({candidate.cluster for candidate in everyone}),
        "method": {"duplicate_jaccard": DUPLICATE, "leak_jaccard": LEAK, "shares": SHARES},
    }


def in_order(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def sizes(manifest: JsonObject) -> SplitSizes:
    return SplitSizes(**manifest["counts"])


def same_content(manifest: JsonObject, other: JsonObject) -> bool:
    """Return whether two versions differ in nothing but their ancestry, and the card, which names
    it.
    """
    return _content(manifest) == _content(other)


def _content(manifest: JsonObject) -> JsonObject:
    files = {name: entry for name, entry in manifest["files"].items() if name.endswith(".parquet")}
    return manifest | {"files": files, "parent": None}


def as_json(manifest: JsonObject) -> str:
    return json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=2) + "\n"


def card(manifest: JsonObject) -> str:
    """Return a dataset card as the Hugging Face hub reads it."""
    files = "\n".join(f"  - split: {name}\n    path: {name}.parquet" for name in SPLITS)
    counts = "\n".join(f"| {name} | {manifest['counts'][name]} |" for name in SPLITS)
    return f"""---
pretty_name: {json.dumps(manifest["route"])}
task_categories: [{_category(manifest["task"])}]
tags: [ratchet, human-reviewed]
configs:
- config_name: default
  data_files:
{files}
---
# {manifest["route"]}

Answers of the model in production, approved or corrected by reviewers.
Previous version: {manifest["parent"] or "none"}.

| split | rows |
|---|---|
{counts}

- `train`, `validation`, `test`: split by near-duplicate cluster (Jaccard {LEAK} and above never
  part), by a hash of the content.
- `audit`: a uniform sample of the traffic. Evaluated on, never trained on; training rows
  that resemble it were left out.
- Left out: {_listed(manifest["dropped"])}. Noticed: {_listed(manifest["noticed"])}.
- Training rows per label: {_listed(manifest["labels"]["train"])}.
- Reviewers (rows): {_listed(manifest["reviewers"])}.

`messages` is JSON: the conversation without the system prompt and without the answer; `answer` is
what was right.
Personal data was redacted before storage (e-mail addresses, phone numbers, cards, IBANs, keys);
names are not detected.
"""


def _category(task: str) -> str:
    return {"classification": "text-classification", "summarisation": "summarization"}.get(
        task, "text-generation"
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
