"""How far a route is from its next dataset, and what stands in the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.answers import normalise
from schemas.base import JsonObject
from schemas.route import RouteSpec
from services.dataset_builder.ledger import Ledger
from services.dataset_builder.minimums import needs
from services.dataset_builder.rule import Standing
from services.dataset_builder.store.builds import BuildState
from services.dataset_builder.store.feedback import FeedbackStore


@dataclass(frozen=True)
class Readiness:
    ledger: Ledger
    feedback: FeedbackStore

    async def of_route(self, connection: AsyncConnection, route: str) -> JsonObject:
        """Return what the API shows of a route. Raises RouteUnknown."""
        ledger = self.ledger
        spec = (await ledger.routes.get(connection, route)).spec
        state = await ledger.builds.get(connection, route) or BuildState(route)
        standing = await ledger.standing(connection, state, spec)
        counts = await ledger.verdicts.count_labels(connection, route, spec)
        held = await ledger.held_back(connection, route, spec) if state.held else None
        minimum = needs(spec)
        return {
            "route": route,
            "minimum_rows": minimum.in_all,
            "minimum_per_label": minimum.per_label,
            "labels": {
                label: {
                    # what the next build would count, had it left out as much as the last one
                    "verdicts": counts[normalise(label, spec)] - state.lost_labels.get(label, 0),
                    "left_out": state.lost_labels.get(label, 0),
                    "minimum": minimum.per_label,
                }
                for label in spec.labels
            },
            "verdicts": await ledger.verdicts.count_kinds(connection, route),
            "feedback": asdict(await self.feedback.count(connection, route)),
            "held": held and {"brake": held.brake, "until": held.until.isoformat()},
        } | progress(state, standing, spec)


def progress(state: BuildState, standing: Standing, spec: RouteSpec) -> JsonObject:
    rule = spec.retrain
    drift = {
        "drift_id": standing.drift_id,
        "confirmed": standing.confirmed,
        "new_verdicts": standing.new_after_drift,
        "needed": rule.min_new_after_drift,
    }
    return {
        "new_verdicts": standing.new,
        "needed": rule.min_new_verdicts,
        "drift": drift if standing.drift_id else None,
        "building": state.building or None,
        "refusal": shown_refusal(state, standing),
        "dataset_id": state.dataset_id,
    }


def shown_refusal(state: BuildState, standing: Standing) -> JsonObject | None:
    if state.refusal is None:
        return None
    return {
        "build": state.refusal.build,
        "error": state.refusal.error,
        "detail": state.refusal.detail,
        "largest": list(state.refusal.clusters),
        "verdicts_until_retry": max(0, standing.wait - standing.since_refusal),
    }
