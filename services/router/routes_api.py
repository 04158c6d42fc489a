"""HTTP in, for people: routes made, shown and rolled back, and what was decided on one request."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from schemas.base import AdapterRef
from schemas.route import RouteSpec
from services.router.state import RouteState, RouteView
from shared.errors import Conflict, NotFound, RatchetError
from shared.http.auth import Principal, require
from shared.rules.routes import RouteUnknown

router = APIRouter(prefix="/v1", tags=["routes"])
Admin = Annotated[Principal, Depends(require("admin"))]
Reader = Annotated[Principal, Depends(require("read"))]
Limit = Annotated[int, Query(ge=1, le=200)]


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


class Rollback(BaseModel):
    model_config = ConfigDict(extra="forbid")
    to: str | None = None
    because: str = "rolled back by hand"


@router.post("/routes")
async def put_route(spec: RouteSpec, request: Request, admin: Admin) -> Response:
    """Create a route, or give it a new spec. The same spec again changes nothing."""
    if spec.name.partition("/")[0] != admin.tenant:
        raise TenantMismatch(spec.name, admin.tenant)
    state = request.app.state
    async with state.db.transaction() as tx:
        old = await state.routes.find(tx, spec.name)
        new = old.respecified(spec, time.time()) if old else RouteState(version=1, spec=spec)
        if new is not old:
            await state.routes.save(tx, old, new, "spec changed" if old else "created", admin.name)
    await state.table.refresh()
    return JSONResponse(
        shown(await state.table.of(spec.name, admin.tenant), request), 200 if old else 201
    )


@router.get("/routes")
async def list_routes(
    request: Request, reader: Reader, limit: Limit = 100, offset: Annotated[int, Query(ge=0)] = 0
) -> dict[str, Any]:
    views = await request.app.state.table.owned_by(reader.tenant)
    following = offset + limit if len(views) > offset + limit else None
    return {
        "items": [shown(view, request) for view in views[offset : offset + limit]],
        "next": following,
    }


@router.get("/routes/{tenant}/{name}")
async def show_route(
    tenant: str,
    name: str,
    request: Request,
    reader: Reader,
    limit: Limit = 50,
    before: int | None = None,
) -> dict[str, Any]:
    """What serves now and how it came to this: history newest first, older pages with
    `before=<version>`.
    """
    state = request.app.state
    view = await _owned(request, tenant, name, reader)
    async with state.db.read() as connection:
        history = await state.routes.history(connection, view.state.route, limit, before)
        counts = (
            await state.routes.canary_counts(
                connection, view.state.route, view.state.challenger.adapter.adapter_id
            )
            if view.state.challenger
            else None
        )
    canary = (
        {"answered": counts[0], "failed": counts[1], "since": view.canary_since} if counts else None
    )
    return shown(view, request) | {"history": history, "canary": canary}


@router.post("/routes/{tenant}/{name}/rollback")
async def roll_back(
    tenant: str,
    name: str,
    request: Request,
    admin: Admin,
    body: Annotated[Rollback, Body()] = Rollback(),  # noqa: B008
) -> dict[str, Any]:
    """To the champion before this one, to `{"to": adapter_id}`, or to `{"to": "base"}`; ends a
    running canary.
    """
    view = await _owned(request, tenant, name, admin)
    state = request.app.state
    async with state.db.transaction() as tx:
        old = await state.routes.load(tx, view.state.route)
        target = await _target(state.routes, tx, old, body.to)
        await state.routes.save(tx, old, old.rolled_back(target), body.because, admin.name)
    await state.table.refresh()
    return shown(await state.table.of(view.state.route, admin.tenant), request)


@router.get("/inferences/{inference_id}")
async def show_inference(inference_id: str, request: Request, reader: Reader) -> Response:
    state = request.app.state
    async with state.db.read() as connection:
        found = await state.decisions.decision(connection, reader.tenant, inference_id)
    if found is None:
        raise InferenceUnknown(inference_id)
    return Response(found, media_type="application/json")


async def _owned(request: Request, tenant: str, name: str, caller: Principal) -> RouteView:
    if tenant != caller.tenant:
        raise RouteUnknown(f"{tenant}/{name}")
    return await request.app.state.table.of(f"{tenant}/{name}", caller.tenant)


async def _target(routes: Any, tx: Any, state: RouteState, to: str | None) -> AdapterRef | None:
    """The adapter to go back to; None is the base model."""
    if state.champion is None and state.challenger is None and to is None:
        raise CannotRollBack(
            f'{state.route} serves the base model already; name an adapter with {{"to": ...}}'
        )
    if to in (None, "base"):
        return state.previous if to is None else None
    found = await routes.evaluation(tx, state.route, to)
    if found is None or found.verdict != "promote":
        raise CannotRollBack(
            f"{to[:100]} was never proven for {state.route}; its history shows which adapters were"
        )
    return found.adapter


def shown(view: RouteView, request: Request) -> dict[str, Any]:
    """A route for people and programs: what serves, whether it is loaded, and what its confidence
    is worth.
    """
    state = view.state
    serving = request.app.state.fleet.serving
    body = state.model_dump(
        mode="json", include={"version", "spec", "champion", "challenger", "previous"}
    )
    calibrations = [fitted.model_dump(mode="json") for fitted in view.calibrations.values()]
    return (
        {"route": state.route}
        | body
        | {
            "calibrations": calibrations,
            "loaded": {a.adapter_id: serving(a.adapter_id) for a in state.adapters},
        }
    )
