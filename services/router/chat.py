"""OpenAI's chat completions as far as a route has them: requests, answers and errors. Pure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.base import Attempt, JsonObject, Message
from shared.errors import Invalid, NotFound, RatchetError
from shared.http import is_too_dense
from shared.rules import MOST_PARTS, ROLES, NoContent, read_message

Outcome = Literal["confident", "fell_back", "unsure"]
# OpenAI's `type` of an error, by status; else "server_error" or "invalid_request_error".
ERROR_TYPES = {
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
    """Raised for another tenant's routes too: whether they exist is not the caller's business."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"no route '{model[:100]}' for this key; GET /v1/models lists yours, 'ratchet routes"
            " create FILE' adds one"
        )
        self.param = "model"


# Bounds beyond every setting: how much is taken in all says `ChatLimits`. The first wrong member of
# a list ends the reading: 4 MiB of them would each cost an error.
MOST_MESSAGES = 10_000
MOST_CHARACTERS = 16 * 1024 * 1024
# Of the place of a mistake: it may hold a name that the client chose.
WHERE_CHARACTERS = 100
Content = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Modality = Annotated[str, Field(max_length=100)]


# Read by `read_message`, as in capture.
Part = Annotated[JsonObject, Field(max_length=32)]


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: (
        Content
        | Annotated[list[Content | Part], Field(max_length=MOST_PARTS, fail_fast=True)]
        | None
    ) = None


class ChatRequest(BaseModel):
    """The fields that mean something here.

    Sampling parameters are accepted and ignored: the route decides them.
    """

    model_config = ConfigDict(extra="ignore")
    model: str = Field(min_length=1, max_length=200)
    messages: Annotated[list[ChatMessage], Field(max_length=MOST_MESSAGES, fail_fast=True)]
    user: Annotated[str, Field(max_length=1000)] | None = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
            Field(max_length=16, fail_fast=True),
        ]
        | None
    ) = None
    stream: bool | None = None
    n: int | None = None
    tools: Annotated[list[object], Field(max_length=1000)] | None = None
    functions: Annotated[list[object], Field(max_length=1000)] | None = None
    modalities: Annotated[list[Modality], Field(max_length=10, fail_fast=True)] | None = None
    response_format: Annotated[JsonObject, Field(max_length=100)] | None = None


@dataclass(frozen=True)
class ChatLimits:
    """How much one request may send."""

    messages: int
    # Of all messages together.
    characters: int


@dataclass(frozen=True)
class ChatQuestion:
    """A request that can be served."""

    route: str
    messages: tuple[Message, ...]
    metadata: dict[str, str]
    # Requests of one session are given to the same adapter while a canary runs.
    session: str
    # Whether the app told the session; else its first question stands for it.
    session_told: bool


def parse(body: bytes, session: str | None, limits: ChatLimits) -> ChatQuestion:
    """Read a request. Raises BadRequest, which says what to change."""
    if is_too_dense(body):
        raise BadRequest("more lists and objects than a request has: send less")
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:WHERE_CHARACTERS]
        raise BadRequest(
            f"{where}: {first['msg']}" if where else first["msg"], where or None
        ) from error
    _refuse_unsupported(request)
    if len(request.messages) > limits.messages:
        raise BadRequest(
            f"{len(request.messages)} messages are too many: send at most {limits.messages}",
            "messages",
        )
    messages = tuple(_message(message, number) for number, message in enumerate(request.messages))
    _refuse_absurd(messages, limits)
    metadata = request.metadata or {}
    if any("\0" in text for text in (*metadata, *metadata.values())):
        raise BadRequest("a NUL character cannot be kept: remove it", "metadata")
    told = request.user or session or metadata.get("session")
    return ChatQuestion(
        route=request.model,
        messages=messages,
        metadata=metadata,
        session=told or next(m.content for m in messages if m.role == "user"),
        session_told=bool(told),
    )


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
    role = ROLES[message.role]
    if role == "tool":
        raise BadRequest(
            "tools are not supported: send system, user and assistant messages", f"{where}.role"
        )
    if message.content is None:
        raise BadRequest("a message needs text content", f"{where}.content")
    try:
        said = read_message(message.content)
    except NoContent as error:
        raise BadRequest(str(error), f"{where}.content") from error
    if said.left_out:
        raise BadRequest(
            f"only text content is supported, not '{said.left_out[0]}'", f"{where}.content"
        )
    return Message(role=role, content=said.text)


def _refuse_absurd(messages: tuple[Message, ...], limits: ChatLimits) -> None:
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise BadRequest("messages must hold at least one user message with text", "messages")
    if any("\0" in message.content for message in messages):
        raise BadRequest("a NUL character cannot be kept: remove it", "messages")
    if (length := sum(len(message.content) for message in messages)) > limits.characters:
        raise BadRequest(
            f"{length} characters are too many: send at most {limits.characters}", "messages"
        )


@dataclass(frozen=True)
class ChatAnswer:
    """What the gateway decided, ready to be told to the app."""

    inference_id: str
    route: str
    attempt: Attempt
    outcome: Outcome
    route_version: int
    attempts: tuple[Attempt, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    # Why an adapter did not answer.
    note: str | None = None


def completion_body(answered: ChatAnswer) -> JsonObject:
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


def summary(answered: ChatAnswer) -> JsonObject:
    """Render the `ratchet` object of the body.

    `confidence` is P(correct), null while the arm is uncalibrated; `score` is the raw one.
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


def completion_headers(answered: ChatAnswer) -> dict[str, str]:
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
) -> JsonObject:
    kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_code(error: RatchetError) -> str:
    """Return the error's name in snake case, or OpenAI's own code where its clients know one."""
    known = {"RouteNotServed": "model_not_found", "Unauthenticated": "invalid_api_key"}
    return known.get(
        error.name, "".join(f"_{c.lower()}" if c.isupper() else c for c in error.name).lstrip("_")
    )
