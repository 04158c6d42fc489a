"""OpenAI's chat completions as far as a route has them: how a request is read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from schemas.base import JsonObject, Message
from services.router.openai_errors import BadRequest
from services.router.wishes import MOST_ALTERNATIVES, NONE, Wishes, unread
from shared.http import Metadata, is_too_dense, read_metadata
from shared.rules import MOST_PARTS, ROLES, NoContent, read_message

# Bounds beyond every setting: how much is taken in all says `ChatLimits`. The first wrong member of
# a list ends the reading: 4 MiB of them would each cost an error.
MOST_MESSAGES = 10_000
MOST_CHARACTERS = 16 * 1024 * 1024
# Of the place of a mistake: it may hold a name that the client chose.
WHERE_CHARACTERS = 100
Content = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Identity = Annotated[str, Field(max_length=1000)]
Stop = Annotated[str, Field(max_length=1000)]
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


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """What is read of a request. Other fields are named in `ratchet.ignored`, unless they ask for
    what every answer has.
    """

    model_config = ConfigDict(extra="allow")
    model: str = Field(min_length=1, max_length=200)
    messages: Annotated[list[ChatMessage], Field(max_length=MOST_MESSAGES, fail_fast=True)]
    user: Identity | None = None
    safety_identifier: Identity | None = None
    metadata: Annotated[JsonObject, Field(max_length=1000)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Part], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Annotated[str, Field(max_length=64)] | Part | None = None
    functions: Annotated[list[object], Field(max_length=1000)] | None = None
    modalities: Annotated[list[Modality], Field(max_length=10, fail_fast=True)] | None = None
    response_format: Annotated[JsonObject, Field(max_length=100)] | None = None

    @property
    def who(self) -> str | None:
        """Return who asks, in OpenAI's newer field or its older one."""
        return self.safety_identifier or self.user


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
    # One person, or one session, is given to the same adapter while a canary runs.
    session: str
    # Whether the app told who asks; else its first question stands for it.
    session_told: bool
    wishes: Wishes = NONE


def question_of(request: ChatRequest, session: str | None, limits: ChatLimits) -> ChatQuestion:
    """Return what is asked. Raises BadRequest, which says what to change."""
    _refuse_unsupported(request)
    if len(request.messages) > limits.messages:
        raise BadRequest(
            f"{len(request.messages)} messages are too many: send at most {limits.messages}",
            "messages",
        )
    messages = tuple(_message(message, number) for number, message in enumerate(request.messages))
    _refuse_absurd(messages, limits)
    metadata = read_metadata(request.metadata or {})
    told = request.who or session or metadata.kept.get("session")
    return ChatQuestion(
        route=request.model,
        messages=messages,
        metadata=metadata.kept,
        session=told or next(m.content for m in messages if m.role == "user"),
        session_told=bool(told),
        wishes=_wishes(request, metadata),
    )


def read(body: bytes) -> ChatRequest:
    """Parse a body. Raises BadRequest."""
    return checked(as_object(body))


def as_object(body: bytes) -> JsonObject:
    """Parse a body as a JSON object. Raises BadRequest."""
    if is_too_dense(body):
        raise BadRequest("more lists and objects than a request has: send less")
    try:
        sent = from_json(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON: {str(error)[:WHERE_CHARACTERS]}") from error
    if not isinstance(sent, dict):
        raise BadRequest("the body is no JSON object")
    return sent


def checked(sent: JsonObject) -> ChatRequest:
    """Return a request whose fields have their types and bounds. Raises BadRequest."""
    try:
        return ChatRequest.model_validate(sent)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:WHERE_CHARACTERS]
        raise BadRequest(
            f"{where}: {first['msg']}" if where else first["msg"], where or None
        ) from error


def _wishes(request: ChatRequest, metadata: Metadata) -> Wishes:
    """Read what the app wants beside an answer."""
    left_out = [f"metadata.{name}" for name, _ in metadata.left_out]
    if metadata.more:
        left_out.append(f"metadata: {metadata.more} more")
    lengths = (request.max_tokens, request.max_completion_tokens)
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    extra: Mapping[str, object] = request.model_extra or {}
    return Wishes(
        max_tokens=min((length for length in lengths if length), default=None),
        stop=tuple(filter(None, stop)),
        alternatives=(request.top_logprobs or 0) if request.logprobs else None,
        response_format=request.response_format,
        tools=tuple(request.tools or ()),
        tool_choice=request.tool_choice,
        stream=bool(request.stream),
        usage_in_stream=bool(request.stream_options and request.stream_options.include_usage),
        ignored=(*unread(extra), *left_out),
    )


def _refuse_unsupported(request: ChatRequest) -> None:
    if request.n not in (None, 1):
        raise BadRequest("one answer per request: send n=1 or leave it out", "n")
    if request.functions:
        raise BadRequest("functions are not supported: send tools", "functions")
    if set(request.modalities or ["text"]) != {"text"}:
        raise BadRequest("only text is supported: leave modalities out", "modalities")
    if request.top_logprobs and not request.logprobs:
        raise BadRequest("top_logprobs needs logprobs=true", "top_logprobs")
    if (request.top_logprobs or 0) > MOST_ALTERNATIVES:
        raise BadRequest(
            f"at most {MOST_ALTERNATIVES} alternatives a token are known: send top_logprobs="
            f"{MOST_ALTERNATIVES} or less",
            "top_logprobs",
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
