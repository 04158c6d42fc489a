"""Personal data and secrets out of what is stored: no model, no network."""

from shared.privacy.redaction import redact, redact_counted

__all__ = ["redact", "redact_counted"]
