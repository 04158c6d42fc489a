"""What a build job carries."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from schemas.route import RouteSpec

JOB = "build-dataset"


class BuildOrder(BaseModel):
    """A build as it was decided.

    Number, specification and parent are fixed, so that every attempt gives the same bytes.
    """

    model_config = ConfigDict(frozen=True)
    route: str
    # Counts the builds of the route, from 1.
    build: int
    because: str
    spec: RouteSpec
    # The dataset before this one.
    parent: str | None = None
    # Whether it is built however much is left out.
    accept_losses: bool = False
    # The drift that this build answers.
    drift_id: str | None = None
    # Since when an answer means what the specification says; microseconds since the epoch.
    meaning_us: int = 0
