"""Which verdicts can become rows at all, and the form in which they are compared.

What is trained on stays as reviewed, except that a label takes the route's spelling and left-over
personal data is redacted.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log
from statistics import quantiles

from schemas.answers import normalise, well_formed
from schemas.route import RouteSpec
from services.dataset_builder.rows import Candidate, DatasetRow
from services.dataset_builder.turns import encode
from shared.rules import redact

_ADDRESS = re.compile(r"\S+@\S+|\S+://\S+")
# Order numbers, dates, amounts.
_NUMBERED = re.compile(r"\S*\d\S*")
# Interquartile ranges of the log length: Tukey's "far out".
_OUTLIER_SPREAD = 3.0


@dataclass(frozen=True)
class Usable:
    # Oldest first.
    candidates: list[Candidate]
    # How many rows do not fit the route, by reason.
    dropped: Counter[str]
    # What is odd about the candidates, with a count each.
    noticed: Counter[str]


def usable(rows: Iterable[DatasetRow], spec: RouteSpec) -> Usable:
    """Return the rows that fit the route, ready to be compared."""
    candidates: list[Candidate] = []
    dropped: Counter[str] = Counter()
    noticed: Counter[str] = Counter(redacted=0)
    labels = {normalise(label, spec): label for label in spec.labels}
    for row in sorted(rows, key=lambda row: row.order):
        turns = json.loads(row.messages)
        clean = redacted(row, turns)
        if clean is not row:
            turns = json.loads(clean.messages)
        candidate = compared(clean, turns, spec, labels)
        if reason := why_unusable(candidate, spec):
            dropped[reason] += 1
        else:
            noticed["redacted"] += clean is not row
            candidates.append(candidate)
    noticed["length_outliers"] = length_outliers([len(candidate.text) for candidate in candidates])
    return Usable(candidates, dropped, noticed)


def redacted(row: DatasetRow, turns: list[dict[str, str]]) -> DatasetRow:
    """Return the row redacted once more; the row itself where that changes nothing.

    Redaction came before storage, so it changes something only where it was incomplete.
    """
    cleaned = [turn | {"content": redact(turn["content"])} for turn in turns]
    answer = redact(row.answer)
    return (
        row
        if cleaned == turns and answer == row.answer
        else replace(row, messages=encode(cleaned), answer=answer)
    )


def compared(
    row: DatasetRow, turns: list[dict[str, str]], spec: RouteSpec, labels: dict[str, str]
) -> Candidate:
    """Return the row with what it is compared by; `labels` are the route's, by normal form."""
    matched = [(turn["role"], matching_form(turn["content"], spec)) for turn in turns]
    text = " ".join(content for _, content in matched).strip()
    key = hashlib.sha256(json.dumps(matched).encode()).digest()
    form = normalise(row.answer, spec)
    label = labels.get(form, "") if spec.task == "classification" else ""
    spelled = replace(row, answer=label) if label else row
    return Candidate(spelled, text, key, form, label)


def matching_form(content: str, spec: RouteSpec) -> str:
    """Return a text as it is matched.

    A class does not hang on an order number; an extraction does, so there numbers stay.
    """
    text = unicodedata.normalize("NFKC", content).casefold()
    if spec.task == "classification":
        text = _NUMBERED.sub("0", _ADDRESS.sub("@", text))
    return " ".join(text.split())


def why_unusable(candidate: Candidate, spec: RouteSpec) -> str:
    """Return the reason; empty where the row can be used."""
    if not candidate.text:
        return "empty"
    if spec.task == "classification":
        return "" if candidate.label else "unknown_label"
    return "" if well_formed(candidate.row.answer, spec) else "malformed"


def length_outliers(lengths: list[int]) -> int:
    """Count the inputs that are far longer or shorter than the rest.

    They are kept; a person may want to look.
    """
    if len(lengths) < 8:
        return 0
    logs = [log(1 + length) for length in lengths]
    low, _, high = quantiles(logs, n=4)
    margin = _OUTLIER_SPREAD * max(high - low, 0.1)
    return sum(not low - margin <= value <= high + margin for value in logs)
