"""HTTP in: inferences and feedback, one or a batch.

202 means: on disk, and published as soon as the event log takes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from schemas.base import JsonObject
from services.capture.intake import Intake, Receipt
from shared.http import Principal, require

InferenceWriter = Annotated[Principal, Depends(require("capture:write"))]
FeedbackWriter = Annotated[Principal, Depends(require("feedback:write"))]
Reader = Annotated[Principal, Depends(require("read"))]

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
    "rating": 1,
    "scale": {"min": 1, "max": 5},
    "correction": "refund",
}


@dataclass(frozen=True)
class CaptureApi:
    intake: Intake

    async def record_inferences(self, request: Request, principal: InferenceWriter) -> JSONResponse:
        """Record what an app asked some other model. Idempotent by `client_id`."""
        body = await request.body()
        receipt = await self.intake.record_inferences(principal, body, encoding(request))
        return reply(receipt, "inference_ids")

    async def record_feedback(self, request: Request, principal: FeedbackWriter) -> JSONResponse:
        """Record what was thought of an answer, also before the inference itself is known.
        Idempotent by `client_id`.
        """
        body = await request.body()
        receipt = await self.intake.record_feedback(principal, body, encoding(request))
        return reply(receipt, "feedback_ids")

    async def stats(self, principal: Reader) -> dict[str, int]:
        """Count what this tenant sent since this process started, on topics of its apps, too."""
        return self.intake.tally.of(principal.tenant)


def capture_api(intake: Intake) -> APIRouter:
    api = CaptureApi(intake)
    router = APIRouter(tags=["capture"])
    inferences = body_like({"inferences": [INFERENCE]})
    feedback = body_like({"feedback": [FEEDBACK]})
    router.post("/v1/inferences", status_code=202, openapi_extra=inferences)(api.record_inferences)
    router.post("/v1/feedback", status_code=202, openapi_extra=feedback)(api.record_feedback)
    router.get("/v1/stats")(api.stats)
    return router


def body_like(example: JsonObject) -> JsonObject:
    """Describe a body for /openapi.json: it is parsed item by item, so FastAPI cannot know it."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": example}},
        }
    }


def encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "").strip().lower()


def reply(receipt: Receipt, ids: str) -> JSONResponse:
    """Answer 202 with the ids under the name `ids`; where no item could be taken 422, or 409 where
    all were taken before with other content.
    """
    rejected = [
        {"index": rejection.index, "error": rejection.error} for rejection in receipt.rejected
    ]
    left_out = [
        {"index": index, "field": one.field, "reason": one.reason}
        for index, several in receipt.left_out.items()
        for one in several
    ]
    body = {
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "rejected": rejected,
        "left_out": left_out,
    }
    if receipt.accepted or receipt.duplicates:
        return JSONResponse(body | {ids: receipt.ids}, 202)
    detail = f"item {rejected[0]['index']}: {rejected[0]['error']}"
    is_conflict = all(rejection.is_conflict for rejection in receipt.rejected)
    status = 409 if is_conflict else 422
    return JSONResponse({"error": "NothingAccepted", "detail": detail} | body, status)
