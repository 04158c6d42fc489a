"""What the owner of a route should know of it before the first answer."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.answers import check_labels, schema_flaw
from schemas.base import JsonObject
from schemas.route import RouteSpec
from services.router.label_tokens import LabelsTooLong, LabelTokens
from services.router.state import RouteView
from shared.rules import Grammar

VOID = (
    "no answer of {} is trusted: prompt, labels, schema, max_tokens, targets.max_risk or engine are"
    " others than when its confidence was calibrated; the evaluator does it again by itself"
)
FROZEN = (
    "no adapter may challenge yet, since a rollback is fresh (frozen_until); 'ratchet routes"
    " unfreeze' ends that"
)
NO_SURROGATES = (
    "personal asks for surrogates, and there is no SURROGATE_SECRET: such values are redacted."
    " Set the same one for capture, review and router"
)
NOT_HELD = (
    "the engine's grammar cannot hold answers to the form of this route, which is checked"
    " afterwards; use fewer keywords in output_schema. What it holds them to"
)


@dataclass(frozen=True)
class Advice:
    label_tokens: LabelTokens
    grammar: Grammar
    # Whether there is a secret that makes them.
    makes_surrogates: bool
    # What new routes tell the base model's chat template.
    template_arguments: Mapping[str, object]

    async def on(self, view: RouteView) -> list[str]:
        """Return warnings, those among them for which the engine must be asked."""
        spec = view.state.spec
        try:
            warning = await self.label_tokens.check(spec)
        except LabelsTooLong as error:
            warning = str(error)
        return [*warnings_of(spec), *self.on_arms(view), *([warning] if warning else [])]

    def on_arms(self, view: RouteView) -> list[str]:
        """Return what is known of how the arms of a route are asked and recorded at the moment."""
        adapters = [adapter.adapter_id for adapter in view.state.adapters]
        void = [one for one in (None, *adapters) if view.is_void(one, self.grammar)]
        named = ", ".join(one or "the base model" for one in void)
        frozen = view.state.is_frozen(time.time())
        wants = "surrogate" in view.state.spec.personal.chosen.values()
        return [
            *([NO_SURROGATES] if wants and not self.makes_surrogates else []),
            *([FROZEN] if frozen else []),
            *([VOID.format(named)] if void else []),
            *([f"{NOT_HELD}: {flaw}"] if (flaw := self.grammar.flaw(view.form)) else []),
        ]

    def report(self, views: Iterable[RouteView]) -> JsonObject:
        """Say which routes' answers are not held to their form, for whoever watches the router."""
        flaws = {view.state.route: self.grammar.flaw(view.form) for view in views}
        return {
            "engine": self.grammar.engine or "unknown",
            "forms_not_held": {route: flaw for route, flaw in flaws.items() if flaw},
        }


def warnings_of(spec: RouteSpec) -> list[str]:
    """Return what the specification itself shows. A new one is refused for most of it; one that was
    stored before that is served on.
    """
    found = []
    try:
        check_labels(spec.labels)
    except ValueError as error:
        found.append(f"no training set can be built: {error}")
    if spec.output_schema is not None and (flaw := schema_flaw(spec.output_schema)):
        found.append(f"answers are only checked for being JSON: output_schema {flaw}")
    return found
