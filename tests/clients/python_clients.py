"""Asks the router as each client does by its defaults; prints a JSON line [case, answer] each.

Run by the Python of `.clients`, which knows nothing of Ratchet: `test_clients.py` says where the
router is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from functools import reduce
from operator import add

import instructor
import openai
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
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
LIVE, AGENT = "acme/live", "acme/agent"
ASKED = "Where is my parcel?"
FIND = {
    "name": "find",
    "description": "Says where a parcel is.",
    "parameters": {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
    },
}


class Invoice(BaseModel):
    """An invoice, as an app writes it."""

    total: float


def langchain(model: str, **more: object) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=BASE, api_key=KEY, **more)


def llama_of(model: str, **more: object) -> OpenAILike:
    return OpenAILike(model=model, api_base=BASE, api_key=KEY, **more)


def llama(**more: object) -> OpenAILike:
    return llama_of(TEXT, **more)


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


def streamed(model: type, route: str = TEXT) -> str:
    async def run() -> str:
        async with agent(model, route).run_stream(ASKED) as run:
            return "".join([text async for text in run.stream_text(delta=True)])

    return asyncio.run(run())


async def last_event(route: str = TEXT) -> str:
    events = langchain(route).astream_events(ASKED, version="v2")
    return [event["event"] async for event in events][-1]


def find(id: int) -> str:  # noqa: A002 - as an app's model sees it
    """Say where a parcel is."""
    return {7: "Hamburg"}[id]


def openai_agent() -> str:
    client = openai.OpenAI(base_url=BASE, api_key=KEY)
    messages: list = [{"role": "user", "content": ASKED}]
    tools = [{"type": "function", "function": FIND}]
    while True:
        said = client.chat.completions.create(model=AGENT, messages=messages, tools=tools)
        message = said.choices[0].message
        if not message.tool_calls:
            return message.content or ""
        messages.append(message)
        for call in message.tool_calls:
            result = find(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def openai_responses_agent() -> str:
    client = openai.OpenAI(base_url=BASE, api_key=KEY)
    items: list = [{"role": "user", "content": ASKED}]
    tools = [{"type": "function", "strict": True, **FIND}]
    while True:
        said = client.responses.create(model=AGENT, input=items, tools=tools)
        items += said.output
        called = [item for item in said.output if item.type == "function_call"]
        if not called:
            return said.output_text
        for item in called:
            result = find(**json.loads(item.arguments))
            items.append(
                {"type": "function_call_output", "call_id": item.call_id, "output": result}
            )


def openai_live() -> str:
    parts = openai.OpenAI(base_url=BASE, api_key=KEY).chat.completions.create(
        model=LIVE, messages=[{"role": "user", "content": ASKED}], stream=True
    )
    return "".join(part.choices[0].delta.content or "" for part in parts)


def langchain_agent(streams: bool = False, **more: object) -> str:
    model = langchain(AGENT, **more).bind_tools([tool(find)])
    messages: list = [HumanMessage(ASKED)]
    while True:
        said = reduce(add, model.stream(messages)) if streams else model.invoke(messages)
        if not said.tool_calls:
            return said.text
        messages += [said, *(tool(find).invoke(call) for call in said.tool_calls)]


def pydantic_ai_agent(model: type) -> str:
    return agent(model, AGENT, tools=[find]).run_sync(ASKED).output


def pydantic_ai_agent_streamed(model: type) -> str:
    async def run() -> str:
        async with agent(model, AGENT, tools=[find]).run_stream(ASKED) as run:
            return await run.get_output()

    return asyncio.run(run())


def llama_agent() -> str:
    # Its `chat_with_tools` needs a package of agents, which asks the same.
    tools = [{"type": "function", "function": FIND}]
    model = llama_of(AGENT, is_chat_model=True, is_function_calling_model=True)
    asked = [ChatMessage(role="user", content=ASKED)]
    said = model.chat(asked, tools=tools).message
    [call] = said.additional_kwargs["tool_calls"]
    result = ChatMessage(
        role="tool",
        content=find(**json.loads(call.function.arguments)),
        additional_kwargs={"tool_call_id": call.id},
    )
    return model.chat([*asked, said, result], tools=tools).message.content


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
    "openai agent": openai_agent,
    "openai agent by responses": openai_responses_agent,
    "langchain agent": langchain_agent,
    "langchain agent streamed": lambda: langchain_agent(streams=True),
    "langchain agent by responses": lambda: langchain_agent(use_responses_api=True),
    "pydantic-ai agent": lambda: pydantic_ai_agent(OpenAIChatModel),
    "pydantic-ai agent by responses": lambda: pydantic_ai_agent(OpenAIResponsesModel),
    "pydantic-ai agent streamed": lambda: pydantic_ai_agent_streamed(OpenAIChatModel),
    "pydantic-ai agent by responses streamed": lambda: pydantic_ai_agent_streamed(
        OpenAIResponsesModel
    ),
    "llama-index agent": llama_agent,
    "openai live": openai_live,
    "langchain live": lambda: "".join(part.content for part in langchain(LIVE).stream(ASKED)),
    "langchain live astream_events": lambda: asyncio.run(last_event(LIVE)),
    "pydantic-ai chat live": lambda: streamed(OpenAIChatModel, LIVE),
    "pydantic-ai responses live": lambda: streamed(OpenAIResponsesModel, LIVE),
    "llama-index live": lambda: "".join(
        part.delta
        for part in llama_of(LIVE, is_chat_model=True).stream_chat(
            [ChatMessage(role="user", content=ASKED)]
        )
    ),
    "llama-index complete live": lambda: "".join(
        part.delta for part in llama_of(LIVE, is_chat_model=False).stream_complete(ASKED)
    ),
}

for name, ask in CASES.items():
    try:
        said = ask()
    except Exception as error:  # noqa: BLE001 - the test shows it
        said = f"FAILED {type(error).__name__}: {str(error)[:500]}"
    print(json.dumps([name, said]), flush=True)
