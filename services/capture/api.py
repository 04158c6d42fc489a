"""HTTP in: inferences and feedback, one or a batch. 202 means: on disk, and published as soon as
the event log takes it.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from services.capture.intake import Receipt
from shared.http.auth import Principal, require

router = APIRouter(tags=["capture"])


def like(example: dict[str, Any]) -> dict[str, Any]:
    """The body for /openapi.json: it is parsed item by item, so FastAPI cannot know it."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
        }
    }


INFERENCE = {
    "client_id": "chat-4711",
    "route": "support-triage",
    "input": "Where is my parcel?",
    "answer": "delivery",
    "model": "gpt-5",
    "latency_ms": 412,
}
FEEDBACK = {
    "client_id": "vote-1",
    "inference_id": "inf_0f3c",
    "route": "support-triage",
    "rating": 0,
    "correction": "refund",
}


@router.post("/v1/inferences", status_code=202, openapi_extra=like({"inferences": [INFERENCE]}))
async def record_inferences(
    request: Request, principal: Annotated[Principal, Depends(require("capture:write"))]
) -> JSONResponse:
    """Record what an app asked some other model. Idempotent by `client_id`."""
    receipt = await request.app.state.intake.inferences(
        principal, await request.body(), encoding(request)
    )
    return answer(receipt, "inference_ids")


@router.post("/v1/feedback", status_code=202, openapi_extra=like({"feedback": [FEEDBACK]}))
async def record_feedback(
    request: Request, principal: Annotated[Principal, Depends(require("feedback:write"))]
) -> JSONResponse:
    """Record what was thought of an answer, also before the inference itself is known. Idempotent
    by `client_id`.
    """
    receipt = await request.app.state.intake.feedback(
        principal, await request.body(), encoding(request)
    )
    return answer(receipt, "feedback_ids")


@router.get("/v1/stats")
async def stats(
    request: Request, principal: Annotated[Principal, Depends(require("read"))]
) -> dict[str, int]:
    """What this tenant sent since this process started."""
    return request.app.state.intake.stats(principal.tenant)


def encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "").strip().lower()


def answer(receipt: Receipt, ids: str) -> JSONResponse:
    rejected = [
        {"index": rejection.index, "error": rejection.error} for rejection in receipt.rejected
    ]
    body = {"accepted": receipt.accepted, "duplicates": receipt.duplicates, "rejected": rejected}
    if receipt.accepted or receipt.duplicates:
        return JSONResponse(body | {ids: receipt.ids}, 202)
    return JSONResponse(
        {
            "error": "NothingAccepted",
            "detail": f"item {rejected[0]['index']}: {rejected[0]['error']}",
        }
        | body,
        422,
    )
