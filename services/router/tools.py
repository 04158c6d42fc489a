"""Functions that an app offers to the model, and what of that its route can do. Pure.

Free text may be calls of them. Other routes have one form of answer: they call a function only
where it takes the object that they answer with anyway.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.answers import is_free_text, same_schema, schema_flaw
from schemas.base import JsonObject
from schemas.route import RouteSpec
from services.router.openai_errors import BadRequest
from shared.rules import Tools

TOOL_NAME = re.compile(r"[\w.-]{1,64}")
FIELDS = ("name", "description", "parameters", "strict")


@dataclass(frozen=True)
class Choice:
    """OpenAI's `tool_choice`."""

    must: bool = False
    named: str | None = None
    # The only ones that may be called; None for all.
    allowed: frozenset[str] | None = None


AUTO = Choice()


@dataclass(frozen=True)
class Offer:
    """What becomes of the tools of a request."""

    # The function whose arguments the answer of the route is.
    tool: str | None = None
    # What the model may call.
    tools: Tools | None = None
    is_ignored: bool = False


NOTHING = Offer()


def offer_of(
    tools: Sequence[JsonObject], choice: str | JsonObject | None, parallel: bool, spec: RouteSpec
) -> Offer:
    """Raises BadRequest where an app would get something else than it asked for."""
    if not tools and choice not in (None, "none", "auto"):
        raise BadRequest("tool_choice needs tools", "tool_choice")
    if not tools or choice == "none":
        return NOTHING
    chosen = choice_of(choice)
    if is_free_text(spec):
        return Offer(tools=callable_ones(tools, chosen, parallel))
    if spec.output_schema is not None:
        return wanted_tool(tools, chosen, spec)
    if chosen.must:
        raise BadRequest(
            f"{spec.name} answers with {answers_with(spec)} and calls no tools: leave tool_choice"
            " out, or ask a route for conversation or summarisation",
            "tool_choice",
        )
    return Offer(is_ignored=True)


def choice_of(sent: str | JsonObject | None) -> Choice:
    match sent:
        case None | "auto":
            return AUTO
        case "required":
            return Choice(must=True)
        case {"type": "function", "function": {"name": str(name)}}:
            return Choice(must=True, named=name)
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*allowed]}}:
            names = frozenset(filter(None, map(name_of, allowed)))
            return Choice(must=mode == "required", allowed=names)
    raise BadRequest(
        "tool_choice is one of none, auto, required, a function by its name, and allowed_tools",
        "tool_choice",
    )


def callable_ones(tools: Sequence[JsonObject], choice: Choice, parallel: bool) -> Tools:
    """Return the functions that a model may call."""
    offered = tuple(function(tool, number) for number, tool in enumerate(tools))
    names = [tool["function"]["name"] for tool in offered]
    if len(set(names)) < len(names):
        raise BadRequest("two functions have one name: rename one of them", "tools")
    if choice.named not in (None, *names) or not (choice.allowed or frozenset()) <= set(names):
        raise BadRequest("tool_choice names a function that is not in tools", "tool_choice")
    if choice.allowed is not None:
        offered = tuple(one for one in offered if one["function"]["name"] in choice.allowed)
    found = Tools(offered, choice.must, choice.named, parallel)
    if choice.must:
        refuse_unholdable(found)
    return found


def refuse_unholdable(tools: Tools) -> None:
    """Raise BadRequest where the engine cannot hold an answer to calls of these functions."""
    try:
        schema = tools.schema() or {}
    except ValueError as error:
        raise BadRequest(f"tools: {error}", "tools") from error
    if flaw := schema_flaw(schema):
        raise BadRequest(f"the parameters of tools, as one schema: {flaw}", "tools")


def function(tool: JsonObject, number: int) -> JsonObject:
    """Return a tool with what is known of functions. Raises BadRequest for anything else."""
    sent = tool.get("function")
    if tool.get("type") != "function" or not isinstance(sent, dict):
        raise BadRequest(
            "only functions can be called: leave other kinds of tools out", f"tools.{number}.type"
        )
    if name_of(tool) is None:
        raise BadRequest(
            "a function needs a name of 1 to 64 characters", f"tools.{number}.function.name"
        )
    parameters = sent.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadRequest(
            "parameters: a JSON schema is needed", f"tools.{number}.function.parameters"
        )
    if not isinstance(sent.get("description"), str | None):
        raise BadRequest("description: a text is needed", f"tools.{number}.function.description")
    known = {name: sent[name] for name in FIELDS if sent.get(name) is not None}
    return {"type": "function", "function": known}


def name_of(tool: object) -> str | None:
    """Return the name of a function, None where it has none that a call could say."""
    sent = tool.get("function") if isinstance(tool, dict) else None
    name = sent.get("name") if isinstance(sent, dict) else None
    return name if isinstance(name, str) and TOOL_NAME.fullmatch(name) else None


def wanted_tool(tools: Sequence[JsonObject], choice: Choice, spec: RouteSpec) -> Offer:
    """Find the function whose arguments the answer is.

    Many clients ask for an object by offering one function that takes it. A route that answers with
    such objects calls that function; which of several to call, no route has learned.
    """
    [first, *others] = tools
    sent = first.get("function")
    parameters = sent.get("parameters") if isinstance(sent, dict) else None
    fits = isinstance(parameters, dict) and same_schema(parameters, spec.output_schema or {})
    if not (others or fits) and choice.must:
        raise BadRequest(
            f"the function takes another object than {spec.name} answers with: its parameters must"
            " be the route's output_schema ('ratchet routes show' prints it)",
            "tools.0.function.parameters",
        )
    if others and choice.must:
        raise BadRequest(
            f"{spec.name} knows of one function, which takes the object it answers with: send that"
            " alone",
            "tools",
        )
    if others or not fits:
        return Offer(is_ignored=True)
    name = name_of(first)
    if name is None:
        raise BadRequest("a function needs a name of 1 to 64 characters", "tools.0.function.name")
    if choice.named not in (None, name):
        raise BadRequest("tool_choice names a function that is not in tools", "tool_choice")
    return Offer(tool=name)


def answers_with(spec: RouteSpec) -> str:
    return "one of its labels" if spec.labels else "text of its own format"
