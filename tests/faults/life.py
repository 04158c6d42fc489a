"""What one incarnation of a service is told when it is forked. Plain data: it crosses a pipe as
JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from shared.failpoints import Action


@dataclass(frozen=True)
class Armed:
    point: str
    action: Action = "kill"
    nth: int = 1


@dataclass(frozen=True)
class Life:
    """`switches`: what is broken on purpose, for negative controls (switches.py). `clock`: seconds
    that its clock is wrong.
    """

    service: str
    settings: dict[str, Any]
    log: str
    fired: str  # the file where it notes which failpoint ended it
    armed: tuple[Armed, ...] = ()
    switches: tuple[str, ...] = ()
    file_limit: int | None = None  # bytes: larger files cannot be written, as on a full disk
    clock: float = 0.0
    training_seconds: float = 0.2
    job_lease: float | None = None  # seconds
    session: float | None = None  # seconds after which a silent consumer loses its partitions
    # "shared.events.relay.LEASE_SECONDS": 2.0
    constants: dict[str, float] = field(default_factory=dict)
    slow: float = 0.0  # seconds that each event takes longer
    # port of a broker: the port of the proxy in front of it
    detours: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Life:
        armed = tuple(Armed(**one) for one in said["armed"])
        return cls(**said | {"armed": armed, "switches": tuple(said["switches"])})
