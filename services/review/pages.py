"""HTTP in, for people: log in, see the queue, decide item after item. Every form works without
JavaScript, too.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from schemas.events import Verdict
from services.review.desk import Desk
from services.review.rendering import NotLoggedIn, Page, Visit, render
from services.review.sessions import COOKIE, Session
from services.review.views import StatsView
from shared.http.auth import Forbidden, Principal

router = APIRouter(include_in_schema=False, route_class=Page)
PER_PAGE = 50
MAX_ANSWER = 65_536  # characters, as in the API
FormText = Annotated[str, Form(max_length=MAX_ANSWER)]


async def opened(request: Request) -> Session | None:
    return await request.app.state.sessions.open(request.cookies.get(COOKIE))


async def visit(request: Request, session: Annotated[Session | None, Depends(opened)]) -> Visit:
    who: Principal | None = (
        request.app.state.keyring.by_id(session.key_id) if session and session.key_id else None
    )
    if session is None or who is None or "review" not in who.scopes:
        raise NotLoggedIn
    return Visit(who, session)


Visiting = Annotated[Visit, Depends(visit)]


async def desk_of(request: Request) -> Desk:
    return request.app.state.desk


Working = Annotated[Desk, Depends(desk_of)]


@router.get("/")
async def start() -> Response:
    return RedirectResponse("/queue", 303)


@router.get("/login")
async def login_form(
    request: Request, session: Annotated[Session | None, Depends(opened)]
) -> Response:
    session = session or Session()
    return await with_cookie(request, render("login.html", csrf=session.csrf), session)


@router.post("/login")
async def login(
    request: Request,
    key: FormText,
    csrf: FormText,
    session: Annotated[Session | None, Depends(opened)],
) -> Response:
    session = session or Session()
    session.check(csrf)
    who: Principal | None = request.app.state.keyring.authenticate(key.strip())
    if who is None or "review" not in who.scopes:
        problem = (
            str(Forbidden("review"))
            if who
            else "This key is not known. Copy it again, or ask for a new one: it was shown once."
        )
        return await with_cookie(
            request, render("login.html", 401, csrf=session.csrf, problem=problem), session
        )
    return await with_cookie(request, RedirectResponse("/queue", 303), Session(who.id))


@router.post("/logout")
async def logout(here: Visiting, csrf: FormText) -> Response:
    here.session.check(csrf)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


@router.get("/queue")
async def queue(request: Request, here: Visiting, desk: Working) -> Response:
    async with desk.db.read() as connection:
        stats = StatsView.of(await request.app.state.statistics.counts(connection, here.who.tenant))
        routes = [
            state.spec
            for state in await request.app.state.routes.all(connection)
            if state.tenant == here.who.tenant
        ]
    return render("queue.html", visit=here, stats=stats, routes=routes)


@router.get("/queue/count")
async def count(
    request: Request, here: Visiting, desk: Working, route: str | None = None
) -> Response:
    async with desk.db.read() as connection:
        return JSONResponse(
            {
                "open": await request.app.state.statistics.takeable_count(
                    connection, here.who, route or None
                )
            }
        )


@router.get("/review")
async def review(
    request: Request, here: Visiting, desk: Working, route: str = "", saved: str = ""
) -> Response:
    """The item this reviewer holds, or the next one."""
    card = await desk.take(here.who, route or None, resume=True)
    async with desk.db.read() as connection:
        statistics = request.app.state.statistics
        waiting = await statistics.open_count(connection, here.who.tenant, route or None)
        done = await statistics.done_since(
            connection, here.who.tenant, here.who.name, here.session.started
        )
        routes = (
            []
            if card
            else [
                state.spec
                for state in await request.app.state.routes.all(connection)
                if state.tenant == here.who.tenant
            ]
        )
    shared: dict[str, Any] = {
        "visit": here,
        "route": route,
        "saved": saved,
        "waiting": waiting,
        "done": done,
    }
    return (
        render("item.html", card=card, **shared)
        if card
        else render("empty.html", routes=routes, **shared)
    )


@router.post("/review/{item_id}/verdict")
async def verdict(
    item_id: str,
    here: Visiting,
    desk: Working,
    csrf: FormText,
    verdict: Annotated[Verdict, Form()],
    answer: FormText = "",
    route: FormText = "",
) -> Response:
    here.session.check(csrf)
    done = await desk.settle(here.who, item_id, verdict, answer.replace("\r\n", "\n"))
    return onwards(route, str(done.verdict))


@router.post("/review/{item_id}/skip")
async def skip(
    item_id: str, here: Visiting, desk: Working, csrf: FormText, route: FormText = ""
) -> Response:
    here.session.check(csrf)
    await desk.put_back(here.who, item_id)
    return onwards(route, "skipped")


@router.get("/history")
async def history(
    here: Visiting, desk: Working, page: Annotated[int, Query(ge=1, le=10_000)] = 1
) -> Response:
    async with desk.db.read() as connection:
        items = await desk.queue.finished(
            connection, here.who.tenant, here.who.name, PER_PAGE + 1, (page - 1) * PER_PAGE
        )
    return render(
        "history.html", visit=here, items=items[:PER_PAGE], page=page, more=len(items) > PER_PAGE
    )


def onwards(route: str, saved: str) -> Response:
    return RedirectResponse(f"/review?{urlencode({'route': route, 'saved': saved})}", 303)


async def with_cookie(request: Request, response: Response, session: Session) -> Response:
    sessions = request.app.state.sessions
    response.set_cookie(
        COOKIE,
        await sessions.seal(session),
        max_age=sessions.seconds,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response
