"""Every text, list and object that a request may hold has a bound: /openapi.json says so of all six
services, and the shapes that capture and the router parse themselves say so of themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, TypeAdapter

from infra.migrations import built
from schemas.base import JsonObject
from schemas.topics import SERVICES
from services.capture.shapes import SentFeedback, SentInference
from services.router.chat import ChatRequest
from shared.http import RequestBody

# Parsed from bytes by their services, so that /openapi.json does not know them.
PARSED: tuple[type[BaseModel], ...] = (SentInference, SentFeedback, ChatRequest)
# Floats of events are finite, which is bound enough: no column of 32 bits holds one.
FREE_NUMBERS = {"rating", "outcome"}
# Accepted and not read: only whether it is 1.
UNREAD = {"n"}


def unbounded(schema: JsonObject, all_of: JsonObject, where: str) -> Iterator[str]:
    """Name each part of a JSON schema that may be of any size."""
    if reference := schema.get("$ref"):
        yield from unbounded(all_of[reference.rpartition("/")[2]], all_of, where)
        return
    for part in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        yield from unbounded(part, all_of, where)
    if "enum" not in schema and "const" not in schema:
        yield from endless(schema, where)
    if "items" in schema:
        yield from unbounded(schema["items"], all_of, f"{where}[]")
    if isinstance(extra := schema.get("additionalProperties"), dict):
        yield from unbounded(extra, all_of, f"{where}{{}}")
    for name, part in schema.get("properties", {}).items():
        yield from unbounded(part, all_of, f"{where}.{name}")


def endless(schema: JsonObject, where: str) -> Iterator[str]:
    """Say that a schema itself has no bound; its parts may."""
    says = set(schema)
    match schema.get("type"):
        case "string":
            ends = "{1," in schema.get("pattern", "") or says & {"format", "maxLength"}
            kind = "a text of any length"
        case "array":
            ends = says & {"maxItems", "prefixItems"}
            kind = "a list of any length"
        case "object":
            ends = says & {"properties", "maxProperties"}
            kind = "an object of any size"
        case "integer" | "number":
            free = where.rpartition(".")[2] in FREE_NUMBERS | UNREAD
            ends = free or says & {"maximum", "exclusiveMaximum"}
            kind = "a number of any size"
        case _:
            return
    if not ends:
        yield f"{where}: {kind}"


def of_model(model: type[BaseModel]) -> list[str]:
    schema = TypeAdapter(model).json_schema()
    return list(unbounded(schema, schema.get("$defs", {}), model.__name__))


def of_api(api: FastAPI) -> Iterator[str]:
    described = api.openapi()
    models = described.get("components", {}).get("schemas", {})
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                yield from unbounded(parameter["schema"], models, f"{where}.{parameter['name']}")
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "example" not in content:  # one of PARSED
                    yield from unbounded(content["schema"], models, f"{where} body")


def without_base(routers: Iterable[APIRouter]) -> Iterator[str]:
    """Name the bodies that FastAPI parses and `RequestBody` does not check."""
    routes = [route for router in routers for route in router.routes]
    for route in routes:
        if isinstance(route, APIRoute) and route.body_field and route.include_in_schema:
            kind: Any = route.body_field.field_info.annotation
            kind = next((one for one in get_args(kind) if one is not type(None)), kind)
            if not issubclass(kind, RequestBody):
                yield f"{route.path}: {kind.__name__} is no RequestBody"


@pytest.mark.parametrize("service", SERVICES)
async def test_every_parameter_and_body_has_bounds(service: str, tmp_path: Path) -> None:
    made = await built(service, tmp_path)
    assert list(of_api(made.api)) == []
    assert list(without_base(made.http)) == []


@pytest.mark.parametrize("model", PARSED)
def test_every_shape_that_is_parsed_from_bytes_has_bounds(model: type[BaseModel]) -> None:
    assert of_model(model) == []


class Planted(BaseModel):
    text: str
    texts: Annotated[list[str], Field(max_length=3)]
    lists: list[int]
    anything: dict[str, Any] | None = None
    count: int
    fine: Annotated[str, Field(max_length=3)]


def test_a_planted_violation_is_found() -> None:
    assert of_model(Planted) == [
        "Planted.text: a text of any length",
        "Planted.texts[]: a text of any length",
        "Planted.lists: a list of any length",
        "Planted.lists[]: a number of any size",
        "Planted.anything: an object of any size",
        "Planted.count: a number of any size",
    ]


def test_a_planted_endpoint_is_found() -> None:
    router = APIRouter()

    @router.post("/planted")
    async def planted(body: Planted, route: str, page: int) -> None: ...

    api = FastAPI()
    api.include_router(router)
    assert {line.partition(":")[0] for line in of_api(api)} >= {
        "POST /planted.route",
        "POST /planted.page",
        "POST /planted body.text",
    }
    assert list(without_base([router])) == ["/planted: Planted is no RequestBody"]
