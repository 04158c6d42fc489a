"""What OpenAI's clients may call and this router does not serve: the answer says what to use."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter

from services.router.openai_route import OpenAIRoute
from shared.errors import NotFound

CHAT = "POST /v1/chat/completions serves routes"
INSTEAD: Mapping[str, str] = {
    "responses": "POST /v1/responses is; none is kept to be read again:"
    " GET /v1/inferences/ID shows what was recorded",
    "embeddings": "POST /v1/embeddings is, for the models of other upstreams",
    "audio": "routes take and give text",
    "images": "routes take and give text",
    "moderations": "ask the moderation model's own server",
    "batches": f"{CHAT}, one question each",
    "files": "training data comes from reviewed answers",
    "fine_tuning": "adapters are trained from reviewed answers by themselves:"
    " 'ratchet datasets ready ROUTE' says what is missing",
    "assistants": CHAT,
    "threads": CHAT,
    "realtime": CHAT,
    "routes": "/openapi.json has what is",
    "inferences": "GET /v1/inferences/ID is",
}
ELSE = f"{CHAT}, and GET /v1/models lists them"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class NotServedHere(NotFound):
    def __init__(self, path: str) -> None:
        kind = path.partition("/")[0]
        super().__init__(f"/v1/{path[:100]} is not served: {INSTEAD.get(kind, ELSE)}")


def elsewhere_api() -> APIRouter:
    """Make the endpoint of every address under /v1/ that has no other; to be added last."""
    router = APIRouter(prefix="/v1", route_class=OpenAIRoute)

    @router.api_route("/{path:path}", methods=METHODS, include_in_schema=False)
    async def elsewhere(path: str) -> None:
        raise NotServedHere(path)

    return router
