"""HTTP in, for people: routes made, shown and rolled back, and what was decided on one request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import AdapterRef, JsonObject
from services.router.advice import Advice, warnings_of
from services.router.canary import Canaries
from services.router.fleet import Fleet
from services.router.probation import SECONDS_PER_HOUR, Probation
from services.router.sent_route import SentRoute
from services.router.state import RouteState, RouteView
from services.router.store.routes import RouteDatabase
from services.router.table import RouteTable
from shared.errors import Conflict, NotFound, RatchetError
from shared.http import Id, Limit, Offset, Principal, Reason, RequestBody, require
from shared.privacy import redact
from shared.rules import RouteUnknown
from shared.storage import Database

Admin = Annotated[Principal, Depends(require("admin"))]
Reader = Annotated[Principal, Depends(require("read"))]
Version = Annotated[int, Query(ge=1, le=2**31 - 1)]


class TenantMismatch(RatchetError):
    status = 403

    def __init__(self, name: str, tenant: str) -> None:
        super().__init__(
            f"this key belongs to '{tenant}': name the route '{tenant}/{name.partition('/')[2]}',"
            " or use that tenant's key"
        )


class CannotRollBack(Conflict):
    pass


class InferenceUnknown(NotFound):
    def __init__(self, inference_id: str) -> None:
        super().__init__(
            f"no inference '{inference_id[:64]}' of this tenant; the header x-ratchet-inference-id"
            " of an answer names it"
        )


class Rollback(RequestBody):
    to: Annotated[str, Field(max_length=200)] | None = None
    because: Reason = "rolled back by hand"


@dataclass(frozen=True)
class RoutesApi:
    db: Database
    routes: RouteDatabase
    table: RouteTable
    fleet: Fleet
    advice: Advice
    canaries: Canaries
    probation: Probation

    async def put_route(self, sent: SentRoute, admin: Admin) -> Response:
        """Create a route, or give it a new spec. The same spec again changes nothing.

        Raises TenantMismatch, LabelsTooLong, RouteMoved; what is doubtful is said in `warnings`.
        """
        if sent.name.partition("/")[0] != admin.tenant:
            raise TenantMismatch(sent.name, admin.tenant)
        known = self.table.views.get(sent.name)
        spec = sent.spec(known.state.spec if known else None, self.advice.template_arguments)
        if known is None or known.state.spec != spec:
            await self.advice.label_tokens.check(spec)
        async with self.db.transaction() as tx:
            old = await self.routes.find(tx, spec.name)
            spec = sent.spec(old.spec if old else None, self.advice.template_arguments)
            new = old.respecified(spec, time.time()) if old else RouteState(version=1, spec=spec)
            if new is not old:
                because = "spec changed" if old else "created"
                await self.routes.save(tx, old, new, because, admin.name)
        await self.table.refresh()
        view = await self.table.of(spec.name, admin.tenant)
        return JSONResponse(await self._advised(view), 200 if old else 201)

    async def list_routes(
        self, reader: Reader, limit: Limit = 100, offset: Offset = 0
    ) -> JsonObject:
        views = await self.table.owned_by(reader.tenant)
        # All of them are in memory, so that the last page is known to be the last.
        following = offset + limit if len(views) > offset + limit else None
        items = [self._shown(view) for view in views[offset : offset + limit]]
        return {"items": items, "next": following}

    async def show_route(
        self,
        tenant: Id,
        name: Id,
        reader: Reader,
        limit: Limit = 50,
        before: Version | None = None,
    ) -> JsonObject:
        """Return what serves now and how it came to this: history newest first, older pages with
        `before=<version>`.
        """
        view = await self._owned(tenant, name, reader)
        route, challenger = view.state.route, view.state.challenger
        canary = None
        async with self.db.read() as connection:
            history = await self.routes.history(connection, route, limit, before)
            if challenger:
                adapter_id = challenger.adapter.adapter_id
                counts = await self.routes.canary_counts(connection, route, adapter_id)
                canary = counts._asdict() | {"since": view.canary_since}
                canary |= (await self.canaries.seen(connection, view)).evidence
            needed = await self.routes.rows_for_five_points(connection, route)
        return await self._advised(view) | {
            "history": history,
            "canary": canary,
            "probation": await self.probation.shown(view),
            "rows_for_five_points": needed,
        }

    async def roll_back(
        self,
        tenant: Id,
        name: Id,
        admin: Admin,
        body: Annotated[Rollback, Body()] = Rollback(),  # noqa: B008
    ) -> JsonObject:
        """To the champion before this one, to `{"to": adapter_id}`, or to `{"to": "base"}`; ends a
        running canary. No adapter challenges it for a while (ROUTER_ROLLBACK_FREEZE_HOURS).
        """
        route = (await self._owned(tenant, name, admin)).state.route
        async with self.db.transaction() as tx:
            old = await self.routes.load(tx, route)
            target = await self._target(tx, old, body.to)
            until = time.time() + self.probation.freeze_hours * SECONDS_PER_HOUR
            because = redact(body.because)
            await self.routes.save(tx, old, old.rolled_back(target, until), because, admin.name)
        await self.table.refresh()
        return self._shown(await self.table.of(route, admin.tenant))

    async def unfreeze(self, tenant: Id, name: Id, admin: Admin) -> JsonObject:
        """Let adapters challenge again although a rollback is fresh."""
        route = (await self._owned(tenant, name, admin)).state.route
        async with self.db.transaction() as tx:
            old = await self.routes.load(tx, route)
            if old.is_frozen(time.time()):
                await self.routes.save(tx, old, old.unfrozen(), "unfrozen by hand", admin.name)
        await self.table.refresh()
        return self._shown(await self.table.of(route, admin.tenant))

    async def show_inference(self, inference_id: Id, reader: Reader) -> Response:
        async with self.db.read() as connection:
            found = await self.routes.inference(connection, reader.tenant, inference_id)
        if found is None:
            raise InferenceUnknown(inference_id)
        return Response(found, media_type="application/json")

    async def _owned(self, tenant: str, name: str, caller: Principal) -> RouteView:
        if tenant != caller.tenant:
            raise RouteUnknown(f"{tenant}/{name}")
        return await self.table.of(f"{tenant}/{name}", caller.tenant)

    async def _target(
        self, tx: AsyncConnection, state: RouteState, to: str | None
    ) -> AdapterRef | None:
        """Return the adapter to go back to; None is the base model. Raises CannotRollBack."""
        if to is None:
            if state.champion is None and state.challenger is None:
                raise CannotRollBack(
                    f"{state.route} serves the base model already; name an adapter with"
                    ' {"to": ...}'
                )
            return state.previous
        if to == "base":
            return None
        found = await self.routes.evaluation(tx, state.route, to)
        if found is None or found.verdict != "promote":
            raise CannotRollBack(
                f"{to[:100]} was never proven for {state.route}; its history shows which adapters"
                " were"
            )
        return found.adapter

    async def _advised(self, view: RouteView) -> JsonObject:
        """Render a route with what only the engine knows of it."""
        return self._shown(view) | {"warnings": await self.advice.on(view)}

    def _shown(self, view: RouteView) -> JsonObject:
        """Render a route: what serves, whether it is loaded, what its confidence is worth."""
        state = view.state
        return (
            {"route": state.route}
            | state.model_dump(
                mode="json", include={"version", "spec", "champion", "challenger", "previous"}
            )
            | {
                "guarantee": state.spec.guarantee,
                "frozen_until": state.frozen_until if state.is_frozen(time.time()) else None,
                "calibrations": [
                    fitted.model_dump(mode="json") for fitted in view.in_use(self.advice.grammar)
                ],
                "loaded": {
                    adapter.adapter_id: self.fleet.serving(adapter.adapter_id)
                    for adapter in state.adapters
                },
                "warnings": [*warnings_of(state.spec), *self.advice.on_arms(view)],
            }
        )


def routes_api(api: RoutesApi) -> APIRouter:
    """Make the endpoints that `ratchet routes` and people call."""
    router = APIRouter(prefix="/v1", tags=["routes"])
    router.post("/routes")(api.put_route)
    router.get("/routes")(api.list_routes)
    router.get("/routes/{tenant}/{name}")(api.show_route)
    router.post("/routes/{tenant}/{name}/rollback")(api.roll_back)
    router.post("/routes/{tenant}/{name}/unfreeze")(api.unfreeze)
    router.get("/inferences/{inference_id}")(api.show_inference)
    return router
