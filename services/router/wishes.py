"""How an app would have its answer, and what of that its route can do. Pure.

Nothing is accepted and dropped: a wish is done, refused in words, or named in `ratchet.ignored`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.answers import is_free_text, same_schema, schema_flaw
from schemas.base import JsonObject, Message
from schemas.route import RouteSpec
from services.router.openai_errors import BadRequest
from shared.rules import FREE, Bounds

# Alternatives a token that the engine is asked for in any case.
MOST_ALTERNATIVES = 5
# Fields that ask for what every answer has, where they have these values.
FULFILLED: Mapping[str, tuple[object, ...]] = {
    "temperature": (0,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "parallel_tool_calls": (False, True),
    "function_call": ("none", "auto"),
}
# At temperature 0 an answer does not change from one call to the next.
DONE_ANYWAY = {"seed"}
MOST_NAMED = 50
TOOL_NAME = re.compile(r"[\w.-]{1,64}")
NAME_CHARACTERS = 64


@dataclass(frozen=True)
class Wishes:
    """What a request says beside its question."""

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    # How many alternatives a token; None where no log-probabilities are wanted.
    alternatives: int | None = None
    response_format: JsonObject | None = None
    # OpenAI's objects.
    tools: tuple[JsonObject, ...] = ()
    tool_choice: str | JsonObject | None = None
    stream: bool = False
    usage_in_stream: bool = False
    # Fields that no route does anything about.
    ignored: tuple[str, ...] = ()


NONE = Wishes()


@dataclass(frozen=True)
class Terms:
    """On which terms a route answers one request."""

    max_tokens: int
    bounds: Bounds
    ignored: tuple[str, ...]
    # The name of the function that the answer is given to, as its arguments.
    tool: str | None = None

    @classmethod
    def of(cls, wishes: Wishes, spec: RouteSpec, messages: Iterable[Message]) -> Terms:
        """Raises BadRequest where an app would get something else than it asked for."""
        ignored = list(wishes.ignored)
        if wishes.stop and not is_free_text(spec):
            ignored.append("stop")
        if spec.system == "replace" and any(message.role == "system" for message in messages):
            ignored.append("messages: system")
        return cls(
            max_tokens=min(spec.max_tokens, wishes.max_tokens or spec.max_tokens),
            bounds=bounds_of(wishes, spec),
            ignored=tuple(ignored),
            tool=wanted_tool(wishes, spec),
        )


def bounds_of(wishes: Wishes, spec: RouteSpec) -> Bounds:
    stop = wishes.stop if is_free_text(spec) else ()
    schema = wanted_schema(wishes.response_format, spec)
    return Bounds(json_schema=schema, stop=stop) if stop or schema is not None else FREE


def wanted_schema(wanted: JsonObject | None, spec: RouteSpec) -> JsonObject | None:
    """Return the schema to hold an answer to; empty for any JSON object.

    A route that answers with JSON keeps its own schema, which its adapters have learned.
    """
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return None
    if kind not in ("json_object", "json_schema"):
        raise BadRequest(
            "response_format.type is one of text, json_object and json_schema",
            "response_format.type",
        )
    schema = schema_in(wanted or {}) if kind == "json_schema" else {}
    if spec.output_schema is not None:
        if schema and not same_schema(schema, spec.output_schema):
            raise BadRequest(
                f"{spec.name} answers by the schema of its own: leave response_format out, or send"
                " that schema ('ratchet routes show' prints it as output_schema)",
                "response_format",
            )
        return None
    if spec.task == "extraction" and not schema:
        return None
    if not is_free_text(spec) and spec.task != "extraction":
        raise BadRequest(
            f"{spec.name} answers with {answers_with(spec)}, not with JSON: leave response_format"
            " out",
            "response_format",
        )
    if schema and (flaw := schema_flaw(schema)):
        raise BadRequest(
            f"response_format.json_schema.schema {flaw}", "response_format.json_schema.schema"
        )
    return schema


def wanted_tool(wishes: Wishes, spec: RouteSpec) -> str | None:
    """Return the function whose arguments the answer is.

    Many clients ask for an object by offering one function that takes it. A route that answers with
    such objects calls that function; which of several to call, no route has learned.
    """
    if not wishes.tools or wishes.tool_choice == "none":
        return None
    function = wishes.tools[0].get("function")
    if spec.output_schema is None or len(wishes.tools) > 1 or not isinstance(function, dict):
        raise BadRequest(
            "tools are not supported, beside one function that takes the object a route answers"
            f" with: {spec.name} "
            + (
                "answers with text; leave tools out"
                if spec.output_schema is None
                else "knows of one; send that alone"
            ),
            "tools",
        )
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(parameters, dict) or not same_schema(parameters, spec.output_schema):
        raise BadRequest(
            f"the function takes another object than {spec.name} answers with: its parameters must"
            " be the route's output_schema ('ratchet routes show' prints it)",
            "tools.0.function.parameters",
        )
    if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
        raise BadRequest("a function needs a name of 1 to 64 characters", "tools.0.function.name")
    return name


def answers_with(spec: RouteSpec) -> str:
    return "one of its labels" if spec.labels else "text of its own format"


def schema_in(wanted: JsonObject) -> JsonObject:
    given = wanted.get("json_schema")
    schema = given.get("schema") if isinstance(given, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest(
            "response_format of type json_schema needs json_schema.schema, an object",
            "response_format.json_schema",
        )
    return schema


def unread(fields: Mapping[str, object]) -> tuple[str, ...]:
    """Return the names of those fields that ask for something no route does."""
    names = (
        name[:NAME_CHARACTERS]
        for name, value in fields.items()
        if value is not None and name not in DONE_ANYWAY and value not in FULFILLED.get(name, ())
    )
    return tuple(sorted(names)[:MOST_NAMED])
