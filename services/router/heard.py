"""What an app asked an upstream and was answered, as text, by the shapes of OpenAI's APIs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import from_json

from schemas.base import JsonObject, Message
from shared.rules import ROLES, read_calls, read_message

MODEL_CHARACTERS = 200
MOST_TOKENS = 2**31 - 1
RESPONSE_ENDS = ("response.completed", "response.incomplete")


class NothingHeard(ValueError):
    """An exchange of which nothing can be recorded; says why, without what was said."""


@dataclass(frozen=True)
class Heard:
    """A question and its answer."""

    messages: tuple[Message, ...]
    answer: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None


class _Answer(NamedTuple):
    text: str
    body: JsonObject


def heard(door: str, sent: JsonObject, said: bytes, is_stream: bool) -> Heard:
    """Read what went through a door. Raises NothingHeard."""
    try:
        messages = tuple(_messages(door, sent))
        answer = _streamed(door, said) if is_stream else _whole(door, from_json(said))
    except NothingHeard:
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise NothingHeard(f"not in the shape of {door}") from error
    if not messages:
        raise NothingHeard("no question")
    usage = answer.body.get("usage") or {}
    return Heard(
        messages,
        plain(answer.text),
        plain(str(answer.body.get("model") or sent["model"]))[:MODEL_CHARACTERS],
        _tokens(usage, "prompt_tokens", "input_tokens"),
        _tokens(usage, "completion_tokens", "output_tokens"),
    )


def plain(text: str) -> str:
    """Return a text as databases take it: PostgreSQL holds no NUL."""
    return text.replace("\0", "\ufffd")


def _tokens(usage: Mapping[str, object], *names: str) -> int | None:
    found = next((usage[name] for name in names if usage.get(name) is not None), None)
    return found if isinstance(found, int) and 0 <= found <= MOST_TOKENS else None


def _messages(door: str, sent: JsonObject) -> Iterator[Message]:
    if door == "completions":
        prompt = sent["prompt"]
        [text] = prompt if isinstance(prompt, list) else [prompt]
        yield _message("user", text)
        return
    if door == "chat/completions":
        for message in sent["messages"]:
            content, calls = _said(message)
            yield _message(message["role"], content, calls, message.get("tool_call_id"))
        return
    if sent.get("instructions"):
        yield _message("system", sent["instructions"])
    given = sent["input"]
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        if item.get("type", "message") == "message":
            yield _message(item["role"], item["content"])
        elif item["type"] == "function_call_output":
            yield _message("tool", item["output"], None, item["call_id"])
        elif item["type"] == "function_call":
            call = {"id": item["call_id"], "type": "function", "function": item}
            yield _message("assistant", None, [call])
        elif item["type"] != "reasoning":
            yield _message("assistant", [item])


def _message(role: str, content: object, calls: object = None, result_of: object = None) -> Message:
    """Make a message of what one says and the calls it makes, as capture does."""
    if not isinstance(content, str | list | None):
        raise NothingHeard("a message that is neither text nor parts")
    known = read_calls(calls)
    return Message(
        role=ROLES[role],
        content=plain(read_message(content, None if known else calls).text),
        tool_calls=known,
        tool_call_id=result_of if ROLES[role] == "tool" and isinstance(result_of, str) else None,
    )


def _said(message: JsonObject) -> tuple[object, object]:
    """Return the content of a chat's message, and the calls beside it."""
    content = message.get("content")
    calls = message.get("tool_calls") or message.get("function_call")
    return message.get("refusal") if content is None else content, calls


def _whole(door: str, body: JsonObject) -> _Answer:
    if door == "responses":
        items = [item for item in body["output"] if item["type"] != "reasoning"]
        # An empty answer is one; no item at all is none.
        if not items:
            raise NothingHeard("no output")
        return _Answer(read_message(items).text, body)
    choice = body["choices"][0]
    if door == "completions":
        return _Answer(str(choice["text"]), body)
    return _Answer(read_message(*_said(choice["message"])).text, body)


def _streamed(door: str, said: bytes) -> _Answer:
    whole: JsonObject = {}
    texts: list[str] = []
    calls: dict[int, str] = {}
    for event in events_of(said):
        if event.get("error") or event.get("type") == "error":
            raise NothingHeard("it ended with an error")
        if event.get("type") in RESPONSE_ENDS:
            return _whole(door, event["response"])
        whole |= {name: event[name] for name in ("model", "usage") if event.get(name)}
        for choice in event.get("choices") or ():
            # Of several choices the first is recorded, as of an answer that comes at once.
            if choice.get("index", 0) == 0:
                texts.append(_piece(choice, calls))
                whole["ended"] = choice.get("finish_reason") or whole.get("ended")
    if door == "responses" or not whole.get("ended"):
        raise NothingHeard("it did not end")
    named = [{"function": {"name": name}} for _, name in sorted(calls.items())]
    text = "".join(texts)
    return _Answer(read_message(text or None, named).text, whole)


def _piece(choice: JsonObject, calls: dict[int, str]) -> str:
    """Return the text of a chunk, and note the functions it calls."""
    delta: Mapping[str, Any] = choice.get("delta") or {}
    for call in delta.get("tool_calls") or ():
        name = (call.get("function") or {}).get("name") or ""
        calls[call["index"]] = calls.get(call["index"], "") + name
    return str(choice.get("text") or delta.get("content") or delta.get("refusal") or "")


def events_of(said: bytes) -> Iterator[JsonObject]:
    """Yield the JSON objects of a stream of server-sent events, in their order."""
    data: list[bytes] = []
    for line in [*said.splitlines(), b""]:
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif not line and data:
            event = b"\n".join(data)
            data = []
            if event != b"[DONE]":
                found = from_json(event)
                if isinstance(found, dict):
                    yield found
