"""How an app would have its answer, and what of that its route can do. Pure.

Nothing is accepted and dropped: a wish is done, refused in words, or named in `ratchet.ignored`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from schemas.answers import is_free_text, same_schema, schema_flaw, well_formed
from schemas.base import JsonObject, Message
from schemas.route import RouteSpec
from schemas.tool_calls import read_turn, why_unusable
from services.router.openai_errors import BadRequest
from services.router.tools import answers_with, offer_of
from shared.rules import FREE, Bounds, Form, Sampling, Tools, form_of

# Alternatives a token that the engine is asked for in any case.
MOST_ALTERNATIVES = 5
# Fields that ask for what every answer has, where they have these values.
FULFILLED: Mapping[str, tuple[object, ...]] = {
    "temperature": (0,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "include": ([],),
    "include_obfuscation": (False,),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "function_call": ("none", "auto"),
}
# At temperature 0 an answer does not change from one call to the next.
DONE_ANYWAY = {"seed"}
MOST_NAMED = 50
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
    parallel: bool = True
    # Where more than one answer is wanted.
    sampling: Sampling | None = None
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

    def form(self, of_route: Form) -> Form:
        """Return the form to ask in: the route's, unless the app wants another."""
        if self.bounds == FREE:
            return of_route
        if self.bounds.json_schema is None and self.bounds.tools is None:
            return of_route.within(self.bounds)
        told = of_route.steps[0].template_arguments
        return Form((replace(self.bounds, template_arguments=told),), "")

    @classmethod
    def of(cls, wishes: Wishes, spec: RouteSpec, messages: Iterable[Message]) -> Terms:
        """Raises BadRequest where an app would get something else than it asked for."""
        ignored = list(wishes.ignored)
        free = is_free_text(spec)
        if wishes.stop and not free:
            ignored.append("stop")
        if wishes.sampling and not free:
            raise BadRequest(
                f"{spec.name} has one answer to a question: send n=1 or leave it out", "n"
            )
        offer = offer_of(wishes.tools, wishes.tool_choice, wishes.parallel, spec)
        if offer.is_ignored:
            ignored.append("tools")
        if spec.system == "replace" and any(message.role == "system" for message in messages):
            ignored.append("messages: system")
        return cls(
            max_tokens=min(spec.max_tokens, wishes.max_tokens or spec.max_tokens),
            bounds=bounds_of(wishes, spec, offer.tools),
            ignored=tuple(ignored),
            tool=offer.tool,
        )

    def fits(self, answer: str, spec: RouteSpec) -> bool:
        """Say whether an answer has the form that was asked for."""
        tools = self.bounds.tools
        if tools is None:
            return well_formed(answer, spec)
        if tools.must and not read_turn(answer).calls:
            return False
        return why_unusable(answer, spec, tools.offered) is None

    @property
    def can_be_live(self) -> bool:
        """Say whether an answer may be passed on as it comes: it is one text, and not calls."""
        return not (self.tool or self.bounds.tools or self.bounds.sampling)


def bounds_of(wishes: Wishes, spec: RouteSpec, tools: Tools | None) -> Bounds:
    stop = wishes.stop if is_free_text(spec) else ()
    schema = wanted_schema(wishes.response_format, spec)
    if tools:
        if schema is not None:
            raise BadRequest(
                "an answer is held to a response_format, or may call tools: send one of them",
                "response_format",
            )
        schema = tools.schema()
    if schema is None and not (stop or tools or wishes.sampling):
        return FREE
    return Bounds(json_schema=schema, stop=stop, tools=tools, sampling=wishes.sampling)


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
    # Held to it in any case.
    if spec.task == "extraction" and not schema and form_of(spec).steps[0].is_json:
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
