"""OpenAI's Responses, as far as a route has them: how a request is read. Pure.

No state is kept between two requests: what refers to an earlier one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.base import JsonObject
from services.router.chat import ChatRequest, as_object, checked
from services.router.openai_errors import BadRequest

STATEFUL: Mapping[str, str] = {
    "previous_response_id": "nothing is kept between two requests: send the whole conversation as"
    " input",
    "conversation": "nothing is kept between two requests: send the whole conversation as input",
    "background": "answers are given at once: leave background out",
    "prompt": "the route has its prompt: leave prompt out",
}
RENAMED: Mapping[str, str] = {"max_output_tokens": "max_completion_tokens"}
WITH_LOGPROBS = "message.output_text.logprobs"


def read(body: bytes) -> ChatRequest:
    """Read a request as a chat. Raises BadRequest, by the names of this API."""
    sent = as_object(body)
    for name, why in STATEFUL.items():
        if sent.pop(name, None):
            raise BadRequest(f"{name}: {why}", name)
    chat: JsonObject = {RENAMED.get(name, name): value for name, value in sent.items()}
    chat["messages"] = messages_of(chat.pop("input", None), chat.pop("instructions", None))
    chat["response_format"] = format_of(chat)
    chat["tools"] = tools_of(chat.pop("tools", None))
    chat["tool_choice"] = choice_of(chat.pop("tool_choice", None))
    if (chat.get("n") or 1) != 1:
        raise BadRequest("a response is one answer: leave n out", "n")
    include = chat.get("include")
    if isinstance(include, list) and WITH_LOGPROBS in include:
        chat["logprobs"] = True
        # What is left is named as ignored.
        chat["include"] = [one for one in include if one != WITH_LOGPROBS] or None
    elif not chat.get("top_logprobs"):
        chat.pop("top_logprobs", None)
    try:
        return checked(chat)
    except BadRequest as error:
        where = error.param and error.param.replace("messages", "input")
        raise BadRequest(str(error).replace("messages", "input"), where) from error


def messages_of(sent: object, instructions: object) -> list[JsonObject]:
    """Return the messages of an input. Raises BadRequest for items that are no messages."""
    first = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(sent, str):
        return [*first, {"role": "user", "content": sent}]
    if not isinstance(sent, list) or not sent:
        raise BadRequest("input: a text, or a list of messages", "input")
    return joined([*first, *(message_of(item, number) for number, item in enumerate(sent))])


def message_of(item: object, number: int) -> JsonObject:
    match item:
        case {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}:
            function = {"name": name, "arguments": arguments}
            call = {"id": call_id, "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case {"type": "function_call_output", "call_id": call_id, "output": output}:
            return {"role": "tool", "tool_call_id": call_id, "content": output}
        case {"role": role, **rest} if rest.get("type", "message") == "message":
            return {"role": role, "content": rest.get("content")}
    raise BadRequest(
        "only messages, function calls and their outputs are supported: send those of the"
        " conversation",
        f"input.{number}",
    )


def joined(messages: list[JsonObject]) -> list[JsonObject]:
    """Join what an assistant said with its calls, and calls with each other: chat templates want
    one message before the results.
    """
    found: list[JsonObject] = []
    for message in messages:
        last = found[-1] if found else {}
        if message.get("tool_calls") and last.get("role") == "assistant":
            found[-1] = last | {"tool_calls": [*last.get("tool_calls", ()), *message["tool_calls"]]}
        else:
            found.append(message)
    return found


def choice_of(sent: object) -> object:
    """Return a choice of tools as chats write it."""
    match sent:
        case {"type": "function", "name": name}:
            return {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "mode": mode, "tools": tools}:
            allowed = {"mode": mode, "tools": tools_of(tools)}
            return {"type": "allowed_tools", "allowed_tools": allowed}
    return sent


def tools_of(sent: object) -> object:
    """Return functions as chats write them."""
    if not isinstance(sent, list):
        return sent
    return [
        {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}
        if isinstance(tool, dict) and tool.get("type") == "function"
        else tool
        for tool in sent
    ]


def format_of(chat: JsonObject) -> JsonObject | None:
    """Return the `response_format` of a chat; of `text` stays what is not that."""
    text = chat.get("text")
    if not isinstance(text, dict) or not isinstance(text.get("format"), dict):
        return None
    wanted: JsonObject = text["format"]
    chat["text"] = {name: value for name, value in text.items() if name != "format"} or None
    if wanted.get("type") != "json_schema":
        return wanted
    return {"type": "json_schema", "json_schema": {"schema": wanted.get("schema")}}
