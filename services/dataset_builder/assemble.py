"""From all verdicts of a route to the parts of a dataset, or to the reason why there is none. Pure;
minutes on a million rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from schemas.base import BlobRef, JsonObject
from schemas.route import RouteSpec
from services.dataset_builder import manifest
from services.dataset_builder.curate import Curated
from services.dataset_builder.disputes import Dispute
from services.dataset_builder.losses import BUDGET, Excess, excess
from services.dataset_builder.minimums import explain, lacks, missing_rows
from services.dataset_builder.order import BuildOrder
from services.dataset_builder.rows import DatasetRow, Lost
from services.dataset_builder.split import Splits, split
from shared.errors import Conflict


class Refused(Conflict):
    """No dataset comes of these verdicts; `missing` more of them might change that."""

    missing: int = 1
    # The largest groups of lost rows, where they are the reason.
    clusters: Sequence[JsonObject] = ()
    # Where all lost rows are stored, and how many verdicts of each label.
    lost: BlobRef | None = None
    lost_labels: Mapping[str, int] = MappingProxyType({})
    # Verdicts that no majority settles.
    disputes: Sequence[Dispute] = ()


class BuildFailed(Refused):
    """The build itself ended in an error."""

    missing = 0


class TooFewRows(Refused):
    def __init__(self, explanation: str, missing: int) -> None:
        super().__init__(f"too few rows for a dataset: {explanation}")
        self.missing = missing


class TooMuchLost(Refused):
    def __init__(self, route: str, found: Excess) -> None:
        super().__init__(
            f"{found.taken} of {found.of} rows would be left out as '{found.reason}', more than"
            f" {BUDGET:.0%}: 'ratchet datasets lost {route}' lists them; change the route or review"
            f" them again, or build all the same: 'ratchet datasets build {route} --accept-losses'"
        )
        self.clusters = found.clusters


class NothingChanged(Refused):
    def __init__(self, dataset_id: str, disputes: Sequence[Dispute] = ()) -> None:
        super().__init__(
            f"verdicts and route give the same rows as {dataset_id}: review more answers or change"
            " the route first"
        )
        self.disputes = disputes


@dataclass(frozen=True)
class Verdicts:
    """What a dataset is made of."""

    rows: Sequence[DatasetRow]
    # Verdicts that give no row, by reason: without an answer, or not to be read.
    left_out: Counter[str]


@dataclass(frozen=True)
class Assembled:
    parts: Splits
    lost: Sequence[Lost]
    # The manifest, but for the files.
    facts: JsonObject


def assemble(
    verdicts: Verdicts, curated: Curated, order: BuildOrder, seen: Collection[bytes]
) -> Assembled:
    """Split what was curated, and describe it; `seen` as for `split`."""
    parts = split(curated.training, curated.audit, seen)
    facts = manifest.facts(order.spec, parts, curated, verdicts.left_out, order.parent)
    return Assembled(parts, curated.lost, facts)


def refuse_if_unfit(
    verdicts: Verdicts, curated: Curated, spec: RouteSpec, accept_losses: bool
) -> None:
    """Raise why there is no dataset: TooMuchLost or TooFewRows."""
    found = None if accept_losses else excess(curated)
    if found:
        raise TooMuchLost(spec.name, found)
    if gaps := lacks(curated.training, spec):
        unread = Counter(verdicts.left_out)
        # Without an answer, they were never rows.
        del unread["rejected"]
        dropped = Counter(one.reason for one in curated.lost)
        raise TooFewRows(explain(gaps, dropped + unread, spec), missing_rows(gaps))
