"""HTTP in, for people: log in, see the queue, decide item after item. Every form works without
JavaScript, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import Verdict
from schemas.route import RouteSpec
from services.review.desk import Desk
from services.review.rendering import NotLoggedIn, PageRoute, Parts, Visit, render
from services.review.sessions import COOKIE, Session, Sessions
from services.review.store.queue import Queue
from services.review.store.statistics import Statistics
from services.review.verdicts import MAX_ANSWER
from services.review.views import StatsView
from shared.http import Forbidden, Id, Keyring, Storable, Wanted, keyring_of
from shared.rules import Content, RouteBook
from shared.storage import Database

PER_PAGE = 50
UNKNOWN_KEY = "This key is not known. Copy it again, or ask for a new one: it was shown once."

FormText = Annotated[str, Form(max_length=MAX_ANSWER), Storable]


async def keys_of(request: Request) -> Keyring:
    """Return the keys of this service. FastAPI would run a plain function in another thread."""
    return keyring_of(request)


Keys = Annotated[Keyring, Depends(keys_of)]


async def session_of(request: Request) -> Session | None:
    """Return the session that `Pages.open_session` found."""
    session: Session | None = request.state.session
    return session


Opened = Annotated[Session | None, Depends(session_of)]


async def visit(session: Opened, keys: Keys) -> Visit:
    """Return who is logged in. Raises NotLoggedIn, also when the key was revoked meanwhile."""
    who = keys.by_id(session.key_id) if session and session.key_id else None
    if session is None or who is None or "review" not in who.scopes:
        raise NotLoggedIn
    return Visit(who, session)


Visiting = Annotated[Visit, Depends(visit)]


@dataclass(frozen=True)
class Pages:
    db: Database
    desk: Desk
    queue: Queue
    statistics: Statistics
    routes: RouteBook
    sessions: Sessions

    async def open_session(self, request: Request) -> None:
        """Open the session of the cookie, before anything else of a request is looked at."""
        request.state.session = await self.sessions.open(request.cookies.get(COOKIE))

    async def start(self) -> Response:
        return RedirectResponse("/queue", 303)

    async def login_form(self, request: Request, session: Opened) -> Response:
        session = session or Session()
        return await self._with_cookie(request, render("login.html", csrf=session.csrf), session)

    async def login(
        self, request: Request, key: FormText, csrf: FormText, session: Opened, keys: Keys
    ) -> Response:
        session = session or Session()
        session.check(csrf)
        who = keys.authenticate(key.strip())
        if who is None or "review" not in who.scopes:
            problem = str(Forbidden("review")) if who else UNKNOWN_KEY
            form = render("login.html", 401, csrf=session.csrf, problem=problem)
            return await self._with_cookie(request, form, session)
        return await self._with_cookie(request, RedirectResponse("/queue", 303), Session(who.id))

    async def logout(self, here: Visiting, csrf: FormText) -> Response:
        here.session.check(csrf)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    async def show_queue(self, here: Visiting) -> Response:
        async with self.db.read() as connection:
            counts = await self.statistics.counts(connection, here.who.tenant)
            routes = await self._routes(connection, here.who.tenant)
        return render("queue.html", visit=here, stats=StatsView.of(counts), routes=routes)

    async def count(self, here: Visiting, route: Wanted = None) -> Response:
        """Say how many items this reviewer could take now; the page asks while it waits."""
        async with self.db.read() as connection:
            takeable = await self.statistics.takeable_count(connection, here.who, route or None)
        return JSONResponse({"open": takeable})

    async def review(self, here: Visiting, route: Wanted = None, saved: Wanted = None) -> Response:
        """Show the item this reviewer holds, or the next one; `saved` says what became of the last.

        When none is left, the page says what fills the queue.
        """
        who = here.who
        card = await self.desk.take(who, route or None, resume=True)
        async with self.db.read() as connection:
            waiting = await self.statistics.open_count(connection, who, route or None)
            done = await self.statistics.done_since(
                connection, who.tenant, who.name, here.session.started
            )
            # What `done` counts is among them: the last one of this session can be taken back.
            last = await self.queue.finished(connection, who.tenant, who.name, 1, 0)
            put_off = await self.statistics.put_off_count(connection, who.tenant, route or None)
            routes = [] if card else await self._routes(connection, who.tenant)
        page = partial(
            render,
            visit=here,
            route=route or "",
            saved=saved or "",
            last=last[0].item_id if last and done else None,
            waiting=waiting,
            done=done,
        )
        if card is None:
            return page("empty.html", routes=routes, put_off=put_off)
        return page("item.html", item=card.item, parts=Parts.of(card, here, route or ""))

    async def content(self, item_id: Id, here: Visiting) -> Response:
        """Give all of an item's content as a file, for what is too long for the page."""
        card = await self.desk.find(here.who, item_id)
        exchange, _ = card.opened()
        return Response(
            Content(
                messages=exchange.messages, answer=exchange.answer, tools=exchange.tools
            ).model_dump_json(),
            media_type="application/json",
            headers={"content-disposition": f'attachment; filename="{card.item.item_id}.json"'},
        )

    async def give_verdict(
        self,
        item_id: Id,
        here: Visiting,
        csrf: FormText,
        verdict: Annotated[Verdict, Form()],
        answer: FormText = "",
        route: FormText = "",
    ) -> Response:
        here.session.check(csrf)
        # Forms send line breaks as two characters.
        answer = answer.replace("\r\n", "\n")
        done = await self.desk.give_verdict(here.who, item_id, verdict, answer)
        return to_next_item(route, str(done.verdict))

    async def undo(
        self, item_id: Id, here: Visiting, csrf: FormText, route: FormText = ""
    ) -> Response:
        """Take a verdict back; the item is shown again."""
        here.session.check(csrf)
        await self.desk.undo(here.who, item_id)
        return to_next_item(route, "undone")

    async def skip(
        self,
        item_id: Id,
        here: Visiting,
        csrf: FormText,
        route: FormText = "",
        unseen: Annotated[bool, Form()] = False,
    ) -> Response:
        """Go on to the next item; `unseen`: this one's content could not be shown."""
        here.session.check(csrf)
        await self.desk.put_back(here.who, item_id, unseen)
        return to_next_item(route, "skipped")

    async def history(
        self, here: Visiting, page: Annotated[int, Query(ge=1, le=10_000)] = 1
    ) -> Response:
        who = here.who
        start = (page - 1) * PER_PAGE
        async with self.db.read() as connection:
            # One more than is shown tells whether there is another page.
            items = await self.queue.finished(connection, who.tenant, who.name, PER_PAGE + 1, start)
        more = len(items) > PER_PAGE
        return render("history.html", visit=here, items=items[:PER_PAGE], page=page, more=more)

    async def _routes(self, connection: AsyncConnection, tenant: str) -> list[RouteSpec]:
        states = await self.routes.all(connection)
        return [state.spec for state in states if state.tenant == tenant]

    async def _with_cookie(
        self, request: Request, response: Response, session: Session
    ) -> Response:
        response.set_cookie(
            COOKIE,
            await self.sessions.seal(session),
            max_age=self.sessions.seconds,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response


def review_pages(
    db: Database,
    desk: Desk,
    queue: Queue,
    statistics: Statistics,
    routes: RouteBook,
    sessions: Sessions,
) -> APIRouter:
    pages = Pages(db, desk, queue, statistics, routes, sessions)
    router = APIRouter(
        include_in_schema=False, route_class=PageRoute, dependencies=[Depends(pages.open_session)]
    )
    router.get("/")(pages.start)
    router.get("/login")(pages.login_form)
    router.post("/login")(pages.login)
    router.post("/logout")(pages.logout)
    router.get("/queue")(pages.show_queue)
    router.get("/queue/count")(pages.count)
    router.get("/review")(pages.review)
    router.get("/review/{item_id}/content")(pages.content)
    router.post("/review/{item_id}/verdict")(pages.give_verdict)
    router.post("/review/{item_id}/undo")(pages.undo)
    router.post("/review/{item_id}/skip")(pages.skip)
    router.get("/history")(pages.history)
    return router


def to_next_item(route: str, saved: str) -> Response:
    return RedirectResponse(f"/review?{urlencode({'route': route, 'saved': saved})}", 303)
