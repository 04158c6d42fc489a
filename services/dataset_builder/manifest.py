"""What a dataset says about itself: manifest.json for machines, README.md for people. Equal content
gives equal bytes: neither the time of the build nor the order in which verdicts arrived is in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from schemas.base import BlobRef, JsonObject
from schemas.events import SplitSizes
from schemas.route import RouteSpec
from services.dataset_builder import reports
from services.dataset_builder.curate import AGAIN_US, ALIKE, Curated
from services.dataset_builder.noise import doubtful
from services.dataset_builder.split import FREQUENT_VERDICTS, SHARES, Splits, strata

FORMAT = "ratchet-dataset/1"
LOST_FILE = "lost.parquet"
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
    dropped = Counter(one.reason for one in curated.lost)
    return {
        "format": FORMAT,
        "route": spec.name,
        "task": spec.task,
        "parent": parent,
        "spec": spec.model_dump(mode="json"),
        "counts": {name: len(parts[name]) for name in SPLITS},
        "repeats": sum(one.count - 1 for one in curated.training),
        "labels": {
            name: in_order(Counter(one.label for one in parts[name] if one.label))
            for name in SPLITS
        },
        # Adding drops the reasons that never occurred.
        "dropped": in_order(dropped + left_out),
        "noticed": {
            "redacted": sum(one.question.was_redacted for one in everyone),
            "length_outliers": reports.length_outliers(everyone),
            "one_sided_reviewers": reports.one_sided(everyone),
        },
        "audit": strata(parts),
        # Decided, and yet no row: what is certified says nothing of them.
        "audit_dropped": in_order(Counter(one.reason for one in curated.lost if one.row.audit)),
        "balance": reports.balance(curated.training, everyone),
        "label_noise": doubtful(curated.training),
        "bias": reports.bias(everyone),
        "label_sources": in_order(Counter(one.row.label_source for one in everyone)),
        "reviewers": in_order(Counter(one.row.reviewer for one in everyone)),
        "clusters": len({candidate.cluster for candidate in everyone}),
        "method": {
            "alike_jaccard": ALIKE,
            "again_seconds": AGAIN_US // 1_000_000,
            "frequent_verdicts": FREQUENT_VERDICTS,
            "shares": SHARES,
        },
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


def file_of(folder: BlobRef, manifest: JsonObject, name: str) -> BlobRef:
    return BlobRef(uri=f"{folder.uri}/{name}", sha256=manifest["files"][name]["sha256"])


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

- `train`, `validation`, `test`: split by cluster of similar questions (Jaccard {ALIKE} and above,
  without what many share), by a hash of the content; questions that came {FREQUENT_VERDICTS} times
  or more are trained on. `verdicts` says how often a row came.
- `audit`: a uniform sample of the traffic. Evaluated on; these verdicts are never trained on.
  Rows whose question is also trained on: {manifest["audit"]["repeated"]}; first seen:
  {manifest["audit"]["first_seen"]}. Audited, and not evaluated on:
  {_listed(manifest["audit_dropped"])}.
- Repeats folded into one row: {manifest["repeats"]}. Left out: {_listed(manifest["dropped"])};
  `lost.parquet` lists them.
- Training rows per label: {_listed(manifest["labels"]["train"])}. Rare:
  {", ".join(manifest["balance"]["rare"]) or "none"}.
- Labels that the other rows doubt: {len(manifest["label_noise"])} (manifest.json, `label_noise`).
- Reviewers (rows): {_listed(manifest["reviewers"])}.

`messages` is JSON: the conversation without the system prompt and without the answer, with the
`tool_calls` of an assistant and the `tool_call_id` of each result; `answer` is
what was right.
Personal data was redacted before storage (e-mail addresses, phone numbers, cards, IBANs, keys);
names are not detected. Otherwise on this route: {_listed(_otherwise(manifest["spec"]))}.
"""


def _otherwise(spec: JsonObject) -> dict[str, str]:
    """Return what personal data the route does not redact, as it is written there."""
    return {kind: said for kind, said in spec.get("personal", {}).items() if said != "redact"}


def _category(task: str) -> str:
    return {"classification": "text-classification", "summarisation": "summarization"}.get(
        task, "text-generation"
    )


def _listed(counts: Mapping[str, int | str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
