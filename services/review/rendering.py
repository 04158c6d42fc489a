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
from markupsafe import Markup

from services.review.cut import Shown
from services.review.display import excerpt, label_keys, segments
from services.review.items import Card
from services.review.sessions import Session
from services.review.verdicts import MAX_ANSWER
from services.review.views import WHY, ConfidenceView, moment, why
from shared.errors import RatchetError
from shared.http import Principal
from shared.telemetry import log

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
    "disagreed": "Disagreement",
}
VERDICTS = {
    "approved": "Approved",
    "corrected": "Corrected",
    "rejected": "Rejected",
    "skipped": "Skipped",
    "undone": "Taken back",
}
TEMPLATES.globals.update(
    segments=segments,
    excerpt=excerpt,
    label_keys=label_keys,
    confidence_of=ConfidenceView.of,
    moment=moment,
    why=WHY,
    why_of=why,
    reasons=REASONS,
    verdicts=VERDICTS,
    most_of_an_answer=MAX_ANSWER,
)


@dataclass(frozen=True)
class Visit:
    """A logged-in reviewer, and the session whose token every form carries."""

    who: Principal
    session: Session


@dataclass(frozen=True)
class Parts:
    """What of a page depends on an item's content; with `trouble` there is none of it."""

    work: Markup
    choices: Markup
    trouble: str | None

    @classmethod
    def of(cls, card: Card, visit: Visit, route: str) -> Parts:
        """Show the content; whatever goes wrong with it, the page around it stands."""
        if card.trouble:
            return cls(Markup(), Markup(), card.trouble)
        try:
            return cls(*rendered(card, visit, route), None)
        except Exception as error:  # noqa: BLE001 - a reviewer must be able to go on
            kind = type(error).__name__
            log("review").error("item not shown", item_id=card.item.item_id, error=kind)
            return cls(Markup(), Markup(), f"this page cannot show what it is ({kind})")


def rendered(card: Card, visit: Visit, route: str) -> tuple[Markup, Markup]:
    exchange, spec = card.opened()
    values = {
        "visit": visit,
        "route": route,
        "item": card.item,
        "exchange": exchange,
        "spec": spec,
        "shown": Shown.of(exchange, card.item.suggestion),
        "flaw": card.flaw,
    }
    work, choices = (
        Markup(TEMPLATES.get_template(name).render(values))  # noqa: S704 - escaped there
        for name in ("work.html", "choices.html")
    )
    return work, choices


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
