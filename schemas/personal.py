"""What becomes of personal data that is what a route is about."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from schemas.base import Value

Treatment = Literal["redact", "surrogate", "keep"]


class PersonalRule(Value):
    """What is recorded in the place of personal data, by its kind: the name of the kind (redact),
    another value of the same shape (surrogate), or the value itself (keep). Keys and passwords are
    always redacted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    email: Treatment = "redact"
    phone: Treatment = "redact"
    iban: Treatment = "redact"
    card: Literal["redact", "surrogate"] = Field(
        default="redact", description="the number of a card is never kept (PCI DSS, 3.5)"
    )

    @property
    def chosen(self) -> dict[str, Treatment]:
        """Return what is not redacted, by the kinds of `shared.privacy`."""
        named: dict[str, Treatment] = {
            "EMAIL": self.email,
            "PHONE": self.phone,
            "IBAN": self.iban,
            "CARD": self.card,
        }
        return {kind: treatment for kind, treatment in named.items() if treatment != "redact"}


def redacts_all(rule: PersonalRule) -> bool:
    """Say whether nothing is chosen: most routes say nothing of it in their events, either."""
    return not rule.chosen
