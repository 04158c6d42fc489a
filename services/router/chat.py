"""OpenAI's chat completions as far as a route has them: what is accepted, and the shape of answers
and of errors. Pure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.base import Attempt, Message
from shared.errors import Invalid, NotFound, RatchetError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


class BadRequest(Invalid):
    """A request we understand and refuse; `param` is the field that is at fault."""

    status = 400

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class RouteNotServed(NotFound):
    """Also for another tenant's routes: whether those exist is not this caller's business."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"no route '{model[:100]}' for this key; GET /v1/models lists yours, 'ratchet routes"
            " create FILE' adds one"
        )
        self.param = "model"


class Part(BaseModel):
    type: str
    text: str | None = None


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class ChatRequest(BaseModel):
    """The fields that mean something here. Sampling parameters are accepted and ignored: the route
    decides them.
    """

    model_config = ConfigDict(extra="ignore")
    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage]
    user: Annotated[str, Field(max_length=1000)] | None = None
    metadata: (
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None
    ) = Field(None, max_length=16)
    stream: bool | None = None
    n: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    modalities: list[str] | None = None
    response_format: dict[str, Any] | None = None


@dataclass(frozen=True)
class Limits:
    messages: int
    characters: int


@dataclass(frozen=True)
class Asked:
    """A request that can be served."""

    route: str
    messages: tuple[Message, ...]
    metadata: dict[str, str]
    session: str


def parse(body: bytes, session: str | None, limits: Limits) -> Asked:
    """The request behind the bytes, or BadRequest that says what to change."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(
            f"{where}: {first['msg']}" if where else first["msg"], where or None
        ) from error
    _refuse_unsupported(request)
    messages = tuple(_message(message, number) for number, message in enumerate(request.messages))
    _refuse_absurd(messages, limits)
    metadata = request.metadata or {}
    asked = (
        request.user
        or session
        or metadata.get("session")
        or next(m.content for m in messages if m.role == "user")
    )
    return Asked(route=request.model, messages=messages, metadata=metadata, session=asked)


def _refuse_unsupported(request: ChatRequest) -> None:
    if request.stream:
        raise BadRequest(
            "streaming is not supported: an answer is judged whole before it is given; send"
            " stream=false",
            "stream",
        )
    if request.n not in (None, 1):
        raise BadRequest("one answer per request: send n=1 or leave it out", "n")
    for name in ("tools", "functions"):
        if getattr(request, name):
            raise BadRequest(
                f"{name} are not supported: a route answers with text; leave {name} out", name
            )
    if set(request.modalities or ["text"]) != {"text"}:
        raise BadRequest("only text is supported: leave modalities out", "modalities")
    if (request.response_format or {}).get("type", "text") != "text":
        raise BadRequest(
            "the route decides the format of its answers: leave response_format out",
            "response_format",
        )


def _message(message: ChatMessage, number: int) -> Message:
    where = f"messages.{number}"
    if message.role in ("tool", "function"):
        raise BadRequest(
            "tools are not supported: send system, user and assistant messages", f"{where}.role"
        )
    if message.content is None:
        raise BadRequest("a message needs text content", f"{where}.content")
    role = "system" if message.role == "developer" else message.role
    if isinstance(message.content, str):
        return Message(role=role, content=message.content)
    if other := next(
        (part.type for part in message.content if part.type != "text" or part.text is None), None
    ):
        raise BadRequest(f"only text content is supported, not '{other[:40]}'", f"{where}.content")
    return Message(role=role, content="".join(part.text or "" for part in message.content))


def _refuse_absurd(messages: tuple[Message, ...], limits: Limits) -> None:
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise BadRequest("messages must hold at least one user message with text", "messages")
    if len(messages) > limits.messages:
        raise BadRequest(
            f"{len(messages)} messages are too many: send at most {limits.messages}", "messages"
        )
    if (length := sum(len(message.content) for message in messages)) > limits.characters:
        raise BadRequest(
            f"{length} characters are too many: send at most {limits.characters}", "messages"
        )


@dataclass(frozen=True)
class Answered:
    """What the gateway decided, ready to be told to the app. `note` says why an adapter did not
    answer.
    """

    inference_id: str
    route: str
    attempt: Attempt
    outcome: str
    route_version: int
    attempts: tuple[Attempt, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    note: str | None = None


def completion(answered: Answered) -> dict[str, Any]:
    return {
        "id": answered.inference_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answered.route,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": answered.attempt.answer,
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": answered.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": answered.prompt_tokens,
            "completion_tokens": answered.completion_tokens,
            "total_tokens": answered.prompt_tokens + answered.completion_tokens,
        },
        "ratchet": summary(answered),
    }


def summary(answered: Answered) -> dict[str, Any]:
    """The `ratchet` object of the body. `confidence` is P(correct), null while the arm is
    uncalibrated; `score` is raw.
    """
    confidence = answered.attempt.confidence
    return {
        "inference_id": answered.inference_id,
        "outcome": answered.outcome,
        "arm": answered.attempt.arm,
        "adapter": answered.attempt.adapter_id,
        "confidence": confidence.p_correct if confidence else None,
        "score": confidence.score if confidence else None,
        "threshold": confidence.threshold if confidence else None,
        "route_version": answered.route_version,
        "note": answered.note,
        "attempts": [attempt.model_dump(mode="json") for attempt in answered.attempts],
    }


def headers(answered: Answered) -> dict[str, str]:
    confidence = answered.attempt.confidence
    p_correct = confidence.p_correct if confidence else None
    return {
        "x-ratchet-inference-id": answered.inference_id,
        "x-ratchet-outcome": answered.outcome,
        "x-ratchet-arm": answered.attempt.arm,
        "x-ratchet-adapter": answered.attempt.adapter_id or "none",
        "x-ratchet-route-version": str(answered.route_version),
        "x-ratchet-confidence": "uncalibrated" if p_correct is None else f"{p_correct:.6f}",
    }


def error_body(
    message: str, status: int, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_code(error: RatchetError) -> str:
    """Ours, except where OpenAI's clients know a code of their own."""
    known = {"RouteNotServed": "model_not_found", "Unauthenticated": "invalid_api_key"}
    return known.get(
        error.name, "".join(f"_{c.lower()}" if c.isupper() else c for c in error.name).lstrip("_")
    )
