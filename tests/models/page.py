"""The page docs/models.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

from jinja2 import TemplateError

from schemas.base import JsonObject, Message
from services.trainer.rendering import Tokenizer, render_all
from shared.errors import JobFailed
from tests.factories import spec
from tests.models.families import FAMILIES, Family

TEXT = Path(__file__).with_name("page.md")
TURN = (Message(role="user", content="Where is my parcel?"),)
ANSWER = "delivery"


def page() -> str:
    return TEXT.read_text().replace("{rows}", "".join(map(row, FAMILIES)))


def row(family: Family) -> str:
    verdict, words = verdict_on(family)
    return f"| {family.name} | {verdict} | {words.replace('|', chr(92) + '|')} |\n"


def verdict_on(family: Family) -> tuple[str, str]:
    """Return whether rows can be trained on, and what is learned or why not; where a route must
    tell the template something, what that is.
    """
    try:
        return "works", f"`{learned_by(family)}`"
    except (JobFailed, TemplateError) as refused:
        words = " ".join(str(refused).split())
    if not (told := arguments_of(words)):
        return "refused", words
    learned = f"`{learned_by(family, told)}`"
    return "works, told", f"{learned} with `template_arguments: {json.dumps(told)}`"


def learned_by(family: Family, told: JsonObject | None = None) -> str:
    """Return what an adapter learns to say, as text. Raises what a training refuses."""
    tokenizer = family.tokenizer()
    ends = tokenizer.convert_tokens_to_ids(list(family.ends))
    route = spec().model_copy(update={"template_arguments": told or {}})
    taken = cast(Tokenizer, tokenizer)
    [rendered] = render_all(taken, route, [(TURN, ANSWER)], ends, 0.05).rows
    return str(tokenizer.decode(rendered.answer)).replace("\n", "\\n")


def arguments_of(words: str) -> JsonObject | None:
    """Return the arguments that a refusal recommends."""
    found = re.search(r"template_arguments(?: to|:) (\{.*?\})", words)
    return cast(JsonObject, json.loads(found[1])) if found else None
