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
from dataclasses import replace
from math import log
from statistics import quantiles

from schemas.answers import normalise, well_formed
from schemas.route import RouteSpec
from services.dataset_builder.rows import Item, Row
from shared.rules.redaction import redact

_ADDRESS = re.compile(r"\S+@\S+|\S+://\S+")
_NUMBERED = re.compile(r"\S*\d\S*")  # order numbers, dates, amounts
_OUTLIER_SPREAD = 3.0  # interquartile ranges of the log length: Tukey's "far out"


def usable(rows: Iterable[Row], spec: RouteSpec) -> tuple[list[Item], Counter[str], Counter[str]]:
    """The rows that fit the route, oldest first; how many were dropped and why; what was noticed
    about those kept.
    """
    items: list[Item] = []
    dropped: Counter[str] = Counter()
    noticed: Counter[str] = Counter(redacted=0)
    labels = {normalise(label, spec): label for label in spec.labels}
    for row in sorted(rows, key=lambda row: row.order):
        turns = json.loads(row.messages)
        clean = redacted(row, turns)
        item = compared(
            clean, json.loads(clean.messages) if clean is not row else turns, spec, labels
        )
        if reason := why_unusable(item, spec):
            dropped[reason] += 1
        else:
            noticed["redacted"] += clean is not row
            items.append(item)
    noticed["length_outliers"] = length_outliers([len(item.text) for item in items])
    return items, dropped, noticed


def redacted(row: Row, turns: list[dict[str, str]]) -> Row:
    """Redaction came before storage, so doing it again changes nothing, unless it was
    incomplete.
    """
    cleaned = [turn | {"content": redact(turn["content"])} for turn in turns]
    answer = redact(row.answer)
    return (
        row
        if cleaned == turns and answer == row.answer
        else replace(row, messages=encode(cleaned), answer=answer)
    )


def encode(turns: Iterable[dict[str, str]]) -> str:
    """The one JSON form of a conversation, so that equal conversations are equal bytes."""
    return json.dumps(
        [{"role": t["role"], "content": t["content"]} for t in turns],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def compared(
    row: Row, turns: list[dict[str, str]], spec: RouteSpec, labels: dict[str, str]
) -> Item:
    matched = [(turn["role"], matching_form(turn["content"], spec)) for turn in turns]
    text = " ".join(content for _, content in matched).strip()
    key = hashlib.sha256(json.dumps(matched).encode()).digest()
    form = normalise(row.answer, spec)
    label = labels.get(form, "") if spec.task == "classification" else ""
    return Item(replace(row, answer=label) if label else row, text, key, form, label)


def matching_form(content: str, spec: RouteSpec) -> str:
    """For matching only. A class does not hang on an order number; an extraction does, so there
    numbers stay.
    """
    text = unicodedata.normalize("NFKC", content).casefold()
    if spec.task == "classification":
        text = _NUMBERED.sub("0", _ADDRESS.sub("@", text))
    return " ".join(text.split())


def why_unusable(item: Item, spec: RouteSpec) -> str:
    if not item.text:
        return "empty"
    if spec.task == "classification":
        return "" if item.label else "unknown_label"
    return "" if well_formed(item.row.answer, spec) else "malformed"


def length_outliers(lengths: list[int]) -> int:
    """How many inputs are far longer or shorter than the rest; they are kept, a person may want to
    look.
    """
    if len(lengths) < 8:
        return 0
    logs = [log(1 + length) for length in lengths]
    low, _, high = quantiles(logs, n=4)
    margin = _OUTLIER_SPREAD * max(high - low, 0.1)
    return sum(not low - margin <= value <= high + margin for value in logs)
