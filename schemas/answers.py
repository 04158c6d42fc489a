"""When two answers are the same, and when one has the form it must have: the rules that review,
dataset-builder, evaluator and router share, by the task of the route.

Labels are compared by what a reader sees of them (`labels.py`), JSON by value (`json_answers.py`)
and form (`json_schema.py`), formats with their white space, other extractions without. Free text is
never the same: byte-equal texts are only shown as such.
"""

from __future__ import annotations

import unicodedata

from schemas.json_answers import canonical, canonical_fields, read_json
from schemas.json_schema import keeps, same_schema, schema_flaw
from schemas.labels import check_labels, folded, labels_of
from schemas.route import RouteSpec

__all__ = [
    "canonical_fields",
    "check_labels",
    "is_free_text",
    "label_of",
    "normalise",
    "read_json",
    "same_answer",
    "same_schema",
    "schema_flaw",
    "trimmed",
    "well_formed",
    "why_malformed",
]


def is_free_text(spec: RouteSpec) -> bool:
    """Say whether two different answers can both be right: then no comparison proves one better,
    and no adapter is trained.
    """
    return spec.task in ("summarisation", "conversation")


def normalise(answer: str, spec: RouteSpec) -> str:
    """Return the form in which answers are compared; they are never returned in it."""
    if spec.task == "classification":
        label = label_of(answer, spec)
        # What names no label keeps its marks, or it could become one that it was not taken for.
        return folded(answer) if label is None else labels_of(spec.labels).keys[label]
    if is_free_text(spec):
        return trimmed(answer, spec)
    if spec.output_schema is not None:
        return _by_value(answer)
    text = unicodedata.normalize("NFC", trimmed(answer, spec))
    return text if spec.task == "format" else " ".join(text.split())


def same_answer(one: str, other: str, spec: RouteSpec) -> bool:
    return normalise(one, spec) == normalise(other, spec)


def well_formed(answer: str, spec: RouteSpec) -> bool:
    """Say whether an answer keeps the format: a known label, or JSON that keeps the route's
    schema.
    """
    return why_malformed(answer, spec) is None


def why_malformed(answer: str, spec: RouteSpec) -> str | None:
    """Say what an answer lacks, in words that hold nothing of it; None where it is well formed."""
    if spec.task == "classification":
        return None if label_of(answer, spec) is not None else "is none of the route's labels"
    if spec.output_schema is None:
        return None if answer.strip() else "is empty"
    try:
        value = read_json(answer)
    except ValueError:
        return "is no JSON, names a field twice, or is nested too deep"
    return keeps(value, spec.output_schema)


def label_of(answer: str, spec: RouteSpec) -> str | None:
    """Return the label that an answer names, spelled as the route does; None where it names
    none.
    """
    return labels_of(spec.labels).find(answer)


def trimmed(answer: str, spec: RouteSpec) -> str:
    """Return an answer as it is kept: the white space around it counts where the task is a format,
    but for line breaks at its end, which people and models add unasked.
    """
    if spec.task == "format" and spec.output_schema is None:
        return answer.replace("\r\n", "\n").rstrip("\n")
    return answer.strip()


def _by_value(answer: str) -> str:
    try:
        return canonical(answer)
    except ValueError:
        return answer.strip()
