"""Personal data and secrets out of what is stored: no model, no network."""

from shared.privacy.by_route import (
    Personal,
    Redact,
    both_ways,
    redact_but,
    redact_but_counted,
)
from shared.privacy.redaction import redact, redact_counted

__all__ = [
    "Personal",
    "Redact",
    "both_ways",
    "redact",
    "redact_but",
    "redact_but_counted",
    "redact_counted",
]
