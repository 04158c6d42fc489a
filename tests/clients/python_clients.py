"""Asks the router as each client does by its defaults; prints a JSON line [case, answer] each.

Run by the Python of `.clients`, which knows nothing of Ratchet: `test_clients.py` says where the
router is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable

import instructor
import openai
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

BASE = f"{os.environ['RATCHET_URL']}/v1"
KEY = os.environ["RATCHET_KEY"]
LABELS, TEXT, OBJECT = "acme/support-triage", "acme/summary", "acme/invoice"
ASKED = "Where is my parcel?"


class Invoice(BaseModel):
    """An invoice, as an app writes it."""

    total: float


def langchain(model: str, **more: object) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=BASE, api_key=KEY, **more)


def llama(**more: object) -> OpenAILike:
    return OpenAILike(model=TEXT, api_base=BASE, api_key=KEY, **more)


def instructed(mode: instructor.Mode) -> str:
    client = instructor.from_openai(openai.OpenAI(base_url=BASE, api_key=KEY), mode=mode)
    said = client.chat.completions.create(
        model=OBJECT,
        messages=[{"role": "user", "content": "12.50"}],
        response_model=Invoice,
        max_retries=0,
    )
    return said.model_dump_json()


def agent(model: type, name: str, **more: object) -> Agent:
    return Agent(model(name, provider=OpenAIProvider(base_url=BASE, api_key=KEY)), **more)


def made(model: type, kind: object) -> str:
    return agent(model, OBJECT, output_type=kind).run_sync("12.50").output.model_dump_json()


def streamed(model: type) -> str:
    async def run() -> str:
        async with agent(model, TEXT).run_stream(ASKED) as run:
            return "".join([text async for text in run.stream_text(delta=True)])

    return asyncio.run(run())


async def last_event() -> str:
    events = langchain(TEXT).astream_events(ASKED, version="v2")
    return [event["event"] async for event in events][-1]


CASES: dict[str, Callable[[], str]] = {
    "langchain plain": lambda: langchain(LABELS).invoke(ASKED).content,
    "langchain streamed": lambda: "".join(c.content for c in langchain(TEXT).stream(ASKED)),
    "langchain astream_events": lambda: asyncio.run(last_event()),
    "langchain object": lambda: (
        langchain(OBJECT).with_structured_output(Invoice).invoke("12.50").model_dump_json()
    ),
    "langchain object by tool": lambda: (
        langchain(OBJECT)
        .with_structured_output(Invoice, method="function_calling")
        .invoke("12.50")
        .model_dump_json()
    ),
    "langchain responses": lambda: (
        langchain(TEXT, use_responses_api=True).invoke(ASKED).content[0]["text"]
    ),
    "pydantic-ai chat": lambda: agent(OpenAIChatModel, TEXT).run_sync(ASKED).output,
    "pydantic-ai chat streamed": lambda: streamed(OpenAIChatModel),
    "pydantic-ai responses": lambda: agent(OpenAIResponsesModel, TEXT).run_sync(ASKED).output,
    "pydantic-ai responses streamed": lambda: streamed(OpenAIResponsesModel),
    "pydantic-ai object": lambda: made(OpenAIChatModel, Invoice),
    "pydantic-ai object by responses": lambda: made(OpenAIResponsesModel, Invoice),
    "pydantic-ai native object": lambda: made(OpenAIChatModel, NativeOutput(Invoice)),
    "instructor tools": lambda: instructed(instructor.Mode.TOOLS),
    "instructor json": lambda: instructed(instructor.Mode.JSON),
    "instructor json schema": lambda: instructed(instructor.Mode.JSON_SCHEMA),
    "llama-index chat": lambda: (
        llama(is_chat_model=True).chat([ChatMessage(role="user", content=ASKED)]).message.content
    ),
    "llama-index streamed": lambda: "".join(
        part.delta
        for part in llama(is_chat_model=True).stream_chat([ChatMessage(role="user", content=ASKED)])
    ),
    "llama-index complete": lambda: llama(is_chat_model=False).complete(ASKED).text,
}

for name, ask in CASES.items():
    try:
        said = ask()
    except Exception as error:  # noqa: BLE001 - the test shows it
        said = f"FAILED {type(error).__name__}: {str(error)[:500]}"
    print(json.dumps([name, said]), flush=True)
