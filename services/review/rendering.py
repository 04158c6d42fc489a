"""Templates with escaping always on, and pages instead of JSON when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.review.display import excerpt, label_keys, segments
from services.review.sessions import Session
from services.review.views import WHY, ConfidenceView, moment
from shared.errors import RatchetError
from shared.http import Principal

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
REASONS = {
    "feedback": "User feedback",
    "drift": "Drift",
    "unsure": "Unsure",
    "sampled": "Random check",
}
VERDICTS = {
    "approved": "Approved",
    "corrected": "Corrected",
    "rejected": "Rejected",
    "skipped": "Skipped",
}
TEMPLATES.globals.update(
    segments=segments,
    excerpt=excerpt,
    label_keys=label_keys,
    confidence_of=ConfidenceView.of,
    moment=moment,
    why=WHY,
    reasons=REASONS,
    verdicts=VERDICTS,
)


@dataclass(frozen=True)
class Visit:
    """A logged-in reviewer, and the session whose token every form carries."""

    who: Principal
    session: Session


class NotLoggedIn(RatchetError):
    status = 401

    def __init__(self) -> None:
        super().__init__("log in with a reviewer's API key")


def iso(value: datetime) -> str:
    return value.isoformat(timespec="seconds")


TEMPLATES.filters["iso"] = iso


def render(
    template: str, status: int = 200, visit: Visit | None = None, **values: object
) -> HTMLResponse:
    return HTMLResponse(TEMPLATES.get_template(template).render(visit=visit, **values), status)


class PageRoute(APIRoute):
    """Answers expected errors with a page, and visitors who have not logged in with the login."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        answer = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await answer(request)
            except NotLoggedIn:
                return RedirectResponse("/login", 303)
            except RatchetError as error:
                return render("error.html", error.status, detail=str(error), name=error.name)
            except RequestValidationError as error:
                detail = "; ".join(
                    f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()[:5]
                )
                return render("error.html", 422, detail=detail, name="InvalidRequest")

        return page
