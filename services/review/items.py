"""An answer that a human may see: what was asked, why it is in the queue, what was decided."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.base import Arm, BlobRef, Confidence, JsonObject, Message, Value, is_unset
from schemas.events import InferenceRecorded, Verdict
from schemas.route import RouteSpec
from schemas.tool_calls import why_unusable
from shared.errors import Conflict, NotFound

# awaited: only feedback or a review request has arrived. unrouted: its route is not known yet.
# set_aside: the coin said no.
State = Literal["awaited", "unrouted", "set_aside", "open", "done"]
ROW_UNREADABLE = "what is stored of it cannot be read"
ROUTE_UNREADABLE = "its route is not known here, or cannot be read"


class Exchange(Value):
    """What was asked and answered, and by whom: as much of an `InferenceRecorded` as a reviewer
    and the verdict's event need, today or after late feedback.

    Its fields and their order stay as they are, also `model` and `outcome`, which nothing reads:
    `tests/faults/replay` builds a database again from the log and compares these bytes.
    """

    messages: tuple[Message, ...]
    answer: str
    arm: Arm
    model: str
    adapter_id: str | None = None
    confidence: Confidence | None = None
    outcome: str = "external"
    content: BlobRef | None = None
    occurred_at: AwareDatetime
    session: str | None = None
    tools: tuple[JsonObject, ...] = Field(default=(), exclude_if=is_unset)
    cut: bool = Field(default=False, exclude_if=is_unset)

    def pack(self) -> bytes:
        return zlib.compress(self.model_dump_json(exclude_none=True).encode(), 6)

    @classmethod
    def of(cls, event: InferenceRecorded) -> Exchange:
        return cls.model_validate(event, from_attributes=True)

    @classmethod
    def unpack(cls, packed: bytes) -> Exchange:
        return cls.model_validate_json(zlib.decompress(packed))

    @classmethod
    def read(cls, packed: bytes | None) -> Exchange | None:
        """Unpack what a row holds, nothing where it cannot be read: others must get their turn."""
        try:
            return cls.unpack(packed or b"")
        except (zlib.error, ValueError):
            return None


@dataclass(frozen=True)
class Arrival:
    """Where the events about one inference meet, in any order."""

    item_id: str
    state: State
    coin: float
    unsure: bool
    complaint: bool
    rank: int
    # Once it was placed; no later rule of its route changes it.
    audit: bool
    # Seconds since the epoch.
    recorded_at: float
    # The day (UTC) of an answer that is unsure only because nothing is certified yet.
    provisional_on: str | None = None

    @property
    def placed(self) -> bool:
        return self.state in ("set_aside", "open")


@dataclass(frozen=True)
class ReviewItem:
    """One answer in the queue, or decided. Times are seconds since the epoch."""

    item_id: str
    inference_id: str
    tenant: str
    route: str
    state: State
    reason: str
    audit: bool
    probability: float
    coin: float
    # None: the row of this item cannot be read.
    exchange: Exchange | None
    # What the app told beside its question. Which keys are slices is up to the route when the
    # verdict is given.
    metadata: Mapping[str, str]
    suggestion: str | None
    claimed_by: str | None
    claimed_at: float
    claimed_until: float
    verdict: Verdict | None
    answer: str | None
    reviewer: str | None
    done_at: float | None
    # From claim to verdict.
    seconds: float | None
    # Of its route, when it was decided.
    guideline: str | None
    # Which of its route's slices it belongs to, when it was decided: values by key.
    slices: Mapping[str, str]
    # How many verdicts on it were taken back.
    withdrawn: int
    # The verdict that this one checks, and whose that is: somebody else decides.
    second_of: str | None
    not_for: str | None
    # What reviewers said of its question, where they disagree, and how often.
    disagreement: Mapping[str, int]
    # By the database's clock, like the claim.
    read_at: float

    @property
    def shown_reason(self) -> str:
        """Return the reason as reviewers see it: "sampled" for an audited item.

        They must not know which items are audited: they would take more care with them. Audited
        ones never come a second time because of a disagreement.
        """
        if self.disagreement:
            return "disagreed"
        return "sampled" if self.reason == "audit" else self.reason

    @property
    def review_id(self) -> str:
        """Return what its present verdict is called, or will be."""
        return review_id_of(self.item_id, self.withdrawn)

    @property
    def supersedes(self) -> str | None:
        """Return what the verdict was called that was taken back last."""
        return review_id_of(self.item_id, self.withdrawn - 1) if self.withdrawn else None

    @property
    def claimed(self) -> bool:
        return self.waits and self.claimed_by is not None

    @property
    def put_off(self) -> bool:
        """Say whether it is in nobody's hands and handed out to nobody for now."""
        return self.waits and self.claimed_by is None

    @property
    def waits(self) -> bool:
        return self.state == "open" and self.claimed_until >= self.read_at


@dataclass(frozen=True)
class Card:
    """An item with its route, whose newest labels are the ones it can be corrected to.

    `trouble` says why its content cannot be shown; such an item can only be skipped.
    """

    item: ReviewItem
    spec: RouteSpec | None
    trouble: str | None = None

    def opened(self) -> tuple[Exchange, RouteSpec]:
        """Return what a verdict is about. Raises ContentHidden where nobody can see it."""
        if self.trouble or self.item.exchange is None or self.spec is None:
            raise ContentHidden(self.trouble or self.unreadable)
        return self.item.exchange, self.spec

    @property
    def unreadable(self) -> str:
        return ROUTE_UNREADABLE if self.spec is None else ROW_UNREADABLE

    @property
    def flaw(self) -> str | None:
        """Return what keeps the model's answer from being approved."""
        exchange, spec = self.opened()
        return why_unusable(exchange.answer, spec, exchange.tools)


def review_id_of(item_id: str, withdrawn: int) -> str:
    """Name a verdict: the first of an item is called like the item."""
    return f"{item_id}.{withdrawn}" if withdrawn else item_id


class ItemNotFound(NotFound):
    def __init__(self, item_id: str) -> None:
        super().__init__(
            f"no item '{item_id}' in this queue; POST /v1/queue/next gives the next one"
        )


class ContentHidden(Conflict):
    def __init__(self, trouble: str) -> None:
        super().__init__(
            f"this item's content cannot be shown: {trouble}; nobody can decide it: skip it (POST"
            " /v1/items/ID/release), it comes back in an hour"
        )


class AlreadyDecided(Conflict):
    def __init__(self, item: ReviewItem) -> None:
        answer = (
            f" as '{item.answer}'"
            if item.verdict == "corrected" and len(item.answer or "") <= 80
            else ""
        )
        super().__init__(
            f"this item was already {item.verdict}{answer} by {item.reviewer}, who can take that"
            " back: POST /v1/items/ID/undo"
        )


class NothingToUndo(Conflict):
    def __init__(self) -> None:
        super().__init__("nobody has decided this item; there is nothing to take back")


class VerdictOfAnother(Conflict):
    def __init__(self, reviewer: str | None) -> None:
        super().__init__(
            f"{reviewer} decided this item: only they, or a key with the scope 'admin', can take it"
            " back"
        )


class OwnVerdict(Conflict):
    def __init__(self) -> None:
        super().__init__(
            "you have decided this answer already, and somebody else is to decide it without"
            " knowing; take the next one instead"
        )


class ClaimedByOther(Conflict):
    def __init__(self) -> None:
        super().__init__("another reviewer has this item open; take the next one instead")
