"""How what was asked and answered is redacted: as the route has it."""

from __future__ import annotations

from dataclasses import dataclass

from services.router.table import RouteTable
from shared.privacy import Personal, Redact, redact


@dataclass(frozen=True)
class Redacting:
    table: RouteTable
    personal: Personal

    def of(self, route: str, inference_id: str) -> Redact:
        """Return what redacts the texts of an inference."""
        view = self.table.views.get(route)
        if view is None:
            return redact
        return self.personal.of(view.state.spec.personal.chosen, route, inference_id)
