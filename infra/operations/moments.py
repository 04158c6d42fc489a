"""Moments as operators write them: `2h` ago, or an ISO time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.clock import now, utc
from shared.errors import Invalid

CAPTURED = "inf_"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class NoMoment(Invalid):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"'{text}' is no time: write how long ago (90s, 30m, 2h, 3d), or 2026-11-25T03:00 (UTC"
            " unless it says otherwise)"
        )


def moment(text: str) -> datetime:
    if ago := re.fullmatch(r"(\d+)\s*([smhd])", text.strip()):
        return now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        return utc(datetime.fromisoformat(text.strip()))
    except ValueError:
        raise NoMoment(text) from None


def born(event_id: str) -> datetime | None:
    """Return when an id was made; None where it does not say.

    Ours begin with the time in milliseconds, as UUIDs of version 7 do, capture's after `inf_`.
    """
    try:
        value = UUID(event_id.removeprefix(CAPTURED))
    except ValueError:
        return None
    if value.version != 7 and not event_id.startswith(CAPTURED):
        return None
    return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
