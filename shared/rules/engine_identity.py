"""What tells engines apart that answer differently."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from schemas.base import JsonObject

# Asks an engine for a page, by method, path and body; returns nothing where it has no such page.
Told = Callable[[str, str, JsonObject | None], Awaitable[JsonObject]]
# One that shows how each role is written; some templates know no system message.
CONVERSATIONS = tuple(
    [{"role": role, "content": role} for role in roles]
    for roles in (("system", "user", "assistant", "user"), ("user", "assistant", "user"))
)
# Some templates write the date of today, which tells no two engines apart.
MOMENTS = re.compile(
    r"[0-9]|(jan|febr?|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(uary|ch|il|ust|ember|ober)?"
    r"|(mon|tues|wednes|thurs|fri|satur|sun)day",
    re.IGNORECASE,
)


async def identity_of(told: Told) -> str:
    """Return release, base model and chat template, each empty where the engine does not say."""
    release = await told("GET", "/version", None)
    served = await told("GET", "/v1/models", None)
    roots = [model.get("root") or "" for model in served.get("data", []) if is_base(model)]
    # Engines may keep the same model in different folders.
    model = Path(roots[0]).name if roots else ""
    return " ".join((str(release.get("version", "")), model, await template_of(told))).strip()


async def template_of(told: Told) -> str:
    """Return a digest of how a conversation is written for the base model; empty where nothing
    renders it.
    """
    for conversation in CONVERSATIONS:
        request = {"messages": conversation, "return_token_strs": True}
        pieces = (await told("POST", "/tokenize", request)).get("token_strs")
        if pieces:
            text = MOMENTS.sub("", "".join(pieces))
            return hashlib.sha256(text.encode()).hexdigest()[:12]
    return ""


def is_base(model: JsonObject) -> bool:
    """Say whether an entry of vLLM's list is the base model: an adapter names its parent."""
    return model.get("parent") is None
