"""From all verdicts of a route to the parts of a dataset, or to the reason why there is none. Pure;
minutes on a million rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.route import RouteSpec
from services.dataset_builder import manifest
from services.dataset_builder.curate import curate
from services.dataset_builder.minimums import explain, lacks, missing_rows
from services.dataset_builder.rows import Item, Row
from services.dataset_builder.split import split
from shared.errors import Conflict


class Refused(Conflict):
    """No dataset comes of these verdicts; `missing` more of them might change that."""

    missing: int = 1


class TooFewRows(Refused):
    def __init__(self, explanation: str, missing: int) -> None:
        super().__init__(f"too few rows for a dataset: {explanation}")
        self.missing = missing


class NothingChanged(Refused):
    def __init__(self, dataset_id: str) -> None:
        super().__init__(
            f"verdicts and route give the same rows as {dataset_id}: review more answers or change"
            " the route first"
        )


@dataclass(frozen=True)
class Assembled:
    parts: dict[str, list[Item]]
    facts: dict[str, Any]


def assemble(rows: Sequence[Row], rejected: int, spec: RouteSpec, parent: str | None) -> Assembled:
    curated = curate(rows, spec)
    if found := lacks(curated.training, spec):
        raise TooFewRows(explain(found, curated.dropped, spec), missing_rows(found))
    parts = split(curated.training, curated.audit)
    return Assembled(parts, manifest.facts(spec, parts, curated, rejected, parent))
