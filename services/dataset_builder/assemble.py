"""From all verdicts of a route to the parts of a dataset, or to the reason why there is none. Pure;
minutes on a million rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.base import JsonObject
from schemas.route import RouteSpec
from services.dataset_builder import manifest
from services.dataset_builder.curate import curate
from services.dataset_builder.minimums import explain, lacks, missing_rows
from services.dataset_builder.rows import DatasetRow
from services.dataset_builder.split import Splits, split
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
class Verdicts:
    """What a dataset is made of."""

    rows: Sequence[DatasetRow]
    # Verdicts that give no row, by reason: without an answer, or not to be read.
    left_out: Counter[str]


@dataclass(frozen=True)
class Assembled:
    parts: Splits
    # The manifest, but for the files.
    facts: JsonObject


def assemble(verdicts: Verdicts, spec: RouteSpec, parent: str | None) -> Assembled:
    """Curate and split. Raises TooFewRows; `parent` is the id of the version before."""
    curated = curate(verdicts.rows, spec)
    if found := lacks(curated.training, spec):
        unread = Counter(verdicts.left_out)
        # Without an answer, they were never rows.
        del unread["rejected"]
        raise TooFewRows(explain(found, curated.dropped + unread, spec), missing_rows(found))
    parts = split(curated.training, curated.audit)
    return Assembled(parts, manifest.facts(spec, parts, curated, verdicts.left_out, parent))
