"""Makes each client in Python by the very words of docs/migrate.md, and asks once with it; prints a
JSON line [client, answer] each.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import instructor
from langchain_openai import ChatOpenAI
from llama_index.llms.openai_like import OpenAILike
from openai import OpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

ROUTE, INVOICE, ASKED = "acme/summary", "acme/invoice", "Where is my parcel?"
MESSAGES = [{"role": "user", "content": ASKED}]
ROW = re.compile(r"^\| (.+?) \| `(.+?)` \|", re.MULTILINE)


class Invoice(BaseModel):
    total: float


ASK: dict[str, Callable[[Any], str]] = {
    "openai (Python)": lambda made: (
        made.chat.completions.create(model=ROUTE, messages=MESSAGES).choices[0].message.content
    ),
    "LangChain": lambda made: made.invoke(ASKED).content,
    "pydantic-ai": lambda made: Agent(OpenAIChatModel(ROUTE, provider=made)).run_sync(ASKED).output,
    "instructor": lambda made: str(
        made.chat.completions.create(model=INVOICE, messages=MESSAGES, response_model=Invoice).total
    ),
    "LlamaIndex": lambda made: str(made.complete(ASKED)),
}
KNOWN = {
    "OpenAI": OpenAI,
    "ChatOpenAI": ChatOpenAI,
    "OpenAIProvider": OpenAIProvider,
    "OpenAILike": OpenAILike,
    "instructor": instructor,
    "ROUTE": ROUTE,
    "KEY": os.environ["RATCHET_KEY"],
}

base = f"{os.environ['RATCHET_URL']}/v1"
for client, words in ROW.findall(Path(sys.argv[1]).read_text("utf-8")):
    if client in ASK:
        line = words.replace('"http://ROUTER:8100/v1"', repr(base)).replace("...", repr(base))
        try:
            said = ASK[client](eval(line, KNOWN.copy()))
        except Exception as error:  # noqa: BLE001 - any failure is what the test shows
            said = f"FAILED {type(error).__name__}: {error}"
        print(json.dumps([client, said]))
