"""The bodies of OpenAI's doors as /openapi.json says them: the endpoints read the bytes themselves,
so that FastAPI cannot know.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from schemas.base import JsonObject
from services.router.chat import ChatRequest

# A person would send no more fields than these by hand.
CHAT_EXAMPLE = {
    "model": "acme/support-triage",
    "messages": [{"role": "user", "content": "Where is my parcel?"}],
}
# Of chats, by the other names that Responses has for them.
RENAMED = {"max_completion_tokens": "max_output_tokens"}
NOT_OF_RESPONSES = {
    "max_tokens",
    "messages",
    "functions",
    "logprobs",
    "modalities",
    "n",
    "response_format",
    "stop",
}
NOT_OF_COMPLETIONS = {
    "functions",
    "logprobs",
    "max_completion_tokens",
    "messages",
    "modalities",
    "response_format",
    "tool_choice",
    "tools",
    "top_logprobs",
}


class Embeddings(BaseModel):
    """What is read of a request for embeddings; the rest is for the upstream."""

    model: str = Field(min_length=1, max_length=200)
    input: str | list[str] | list[int] | list[list[int]]
    dimensions: int | None = None
    encoding_format: str | None = None
    user: str | None = None


def chat() -> JsonObject:
    return body(schema_of(ChatRequest), CHAT_EXAMPLE)


def responses() -> JsonObject:
    schema = schema_of(ChatRequest)
    chats = schema["properties"]
    message = chats["messages"]["items"]
    schema["properties"] = {
        "input": {
            "anyOf": [{"type": "string"}, {"type": "array", "items": message, "minItems": 1}]
        },
        "instructions": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "text": {"anyOf": [{"type": "object"}, {"type": "null"}]},
    } | {
        RENAMED.get(name, name): said
        for name, said in chats.items()
        if name not in NOT_OF_RESPONSES
    }
    schema["required"] = ["model", "input"]
    return body(schema, {"model": "acme/support-triage", "input": "Where is my parcel?"})


def completions() -> JsonObject:
    schema = schema_of(ChatRequest)
    schema["properties"] = {
        "prompt": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
            ]
        }
    } | {
        name: said for name, said in schema["properties"].items() if name not in NOT_OF_COMPLETIONS
    }
    schema["required"] = ["model", "prompt"]
    return body(schema, {"model": "acme/support-triage", "prompt": "Where is my parcel?"})


def embeddings() -> JsonObject:
    return body(schema_of(Embeddings), {"model": "text-embedding-3-small", "input": "parcel"})


def body(schema: JsonObject, example: JsonObject) -> JsonObject:
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def schema_of(model: type[BaseModel]) -> JsonObject:
    """Return the schema of a model with its parts in their places: references would point into the
    document that it is put into.
    """
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})

    def placed(node: Any) -> Any:
        if isinstance(node, list):
            return [placed(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return placed(parts[node["$ref"].rpartition("/")[2]])
        return {name: placed(value) for name, value in node.items()}

    found: JsonObject = placed(schema)
    return found
