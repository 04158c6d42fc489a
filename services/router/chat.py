"""OpenAI's chat completions as far as a route has them: how a request is read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from schemas.base import JsonObject, Message
from services.router.conversation import ChatMessage, Part, conversation
from services.router.openai_errors import BadRequest
from services.router.sampling import drawn
from services.router.wishes import MOST_ALTERNATIVES, NONE, Wishes, unread
from shared.http import Metadata, is_too_dense, read_metadata
from shared.rules import characters_of

# A bound beyond every setting: how much is taken in all says `ChatLimits`.
MOST_MESSAGES = 10_000
MOST_CHOICES = 8
# Of the place of a mistake: it may hold a name that the client chose.
WHERE_CHARACTERS = 100
Identity = Annotated[str, Field(max_length=1000)]
Stop = Annotated[str, Field(max_length=1000)]
Modality = Annotated[str, Field(max_length=100)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")
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
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Part], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Annotated[str, Field(max_length=64)] | Part | None = None
    parallel_tool_calls: bool | None = None
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
    messages, unkept = conversation(request.messages)
    _refuse_absurd(messages, request.tools or (), limits)
    metadata = read_metadata(request.metadata or {})
    told = request.who or session or metadata.kept.get("session")
    return ChatQuestion(
        route=request.model,
        messages=messages,
        metadata=metadata.kept,
        session=told or next(m.content for m in messages if m.role == "user"),
        session_told=bool(told),
        wishes=_wishes(request, metadata, unkept),
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


def _wishes(request: ChatRequest, metadata: Metadata, unkept: Iterable[str]) -> Wishes:
    """Read what the app wants beside an answer; `unkept` is what is not read of its messages."""
    left_out = [*unkept, *(f"metadata.{name}" for name, _ in metadata.left_out)]
    if metadata.more:
        left_out.append(f"metadata: {metadata.more} more")
    options: Mapping[str, object] = (
        (request.stream_options.model_extra or {}) if request.stream_options else {}
    )
    left_out += [f"stream_options.{name}" for name in unread(options)]
    lengths = (request.max_tokens, request.max_completion_tokens)
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    extra: Mapping[str, object] = request.model_extra or {}
    sampling = None
    if (request.n or 1) > 1:
        if extra.get("temperature") == 0:
            left_out.append("temperature")
        sampling, extra = drawn(request.n or 1, extra)
    return Wishes(
        max_tokens=min((length for length in lengths if length), default=None),
        stop=tuple(filter(None, stop)),
        alternatives=(request.top_logprobs or 0) if request.logprobs else None,
        response_format=request.response_format,
        tools=tuple(request.tools or ()),
        tool_choice=request.tool_choice,
        parallel=request.parallel_tool_calls is not False,
        sampling=sampling,
        stream=bool(request.stream),
        usage_in_stream=bool(request.stream_options and request.stream_options.include_usage),
        ignored=(*unread(extra), *left_out),
    )


def _refuse_unsupported(request: ChatRequest) -> None:
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


def _refuse_absurd(
    messages: tuple[Message, ...], tools: Sequence[JsonObject], limits: ChatLimits
) -> None:
    if not any(message.role == "user" and message.content.strip() for message in messages):
        raise BadRequest("messages must hold at least one user message with text", "messages")
    if any(map(has_nul, messages)):
        raise BadRequest("a NUL character cannot be kept: remove it", "messages")
    length = characters_of(messages)
    if tools:
        sent = to_json(tools).decode()
        length += len(sent)
        if "\\u0000" in sent:
            raise BadRequest("a NUL character cannot be kept: remove it", "tools")
    if length > limits.characters:
        raise BadRequest(
            f"{length} characters are too many: send at most {limits.characters}", "messages"
        )


def has_nul(message: Message) -> bool:
    calls = message.tool_calls
    return "\0" in message.content or any(
        "\0" in text or "\\u0000" in text for call in calls for text in (call.id, call.arguments)
    )
