"""When two answers are the same: the one rule that review, dataset-builder, evaluator and router
share.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from pydantic_core import from_json

from schemas.route import RouteSpec


def normalise(answer: str, spec: RouteSpec) -> str:
    """Return the form in which answers are compared; they are never returned in it."""
    text = unicodedata.normalize("NFKC", answer).strip()
    if spec.task == "classification":
        return text.strip(" \t\n\"'`.,:;!").casefold()
    if spec.output_schema is not None:
        return _canonical_json(text)
    return " ".join(text.split())


def same_answer(one: str, other: str, spec: RouteSpec) -> bool:
    return normalise(one, spec) == normalise(other, spec)


def well_formed(answer: str, spec: RouteSpec) -> bool:
    """Say whether an answer keeps the format: a known label, or JSON where a schema is given."""
    if spec.task == "classification":
        return normalise(answer, spec) in {normalise(label, spec) for label in spec.labels}
    if spec.output_schema is not None:
        return _parses(answer)
    return bool(answer.strip())


def read_json(text: str) -> Any:
    """Return the value that somebody wrote as JSON. Raises ValueError where it is none.

    Nested more than 200 levels deep it is none, in every service alike: `json.loads` raises another
    error there, and at a depth that depends on its caller's.
    """
    return from_json(text.encode())


def _parses(text: str) -> bool:
    try:
        read_json(text)
    except ValueError:
        return False
    return True


def _canonical_json(text: str) -> str:
    return (
        json.dumps(read_json(text), sort_keys=True, ensure_ascii=False) if _parses(text) else text
    )
