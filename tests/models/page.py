"""The page docs/models.md."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import cast
from unittest.mock import patch

from jinja2 import TemplateError

from schemas.base import Message
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
    """Return whether rows can be trained on, and what is learned or why not."""
    tokenizer = family.tokenizer()
    ends = tokenizer.convert_tokens_to_ids(list(family.ends))
    taken = cast(Tokenizer, tokenizer)
    try:
        [rendered] = render_all(taken, spec(), [(TURN, ANSWER)], ends, 0.05).rows
    except (JobFailed, TemplateError) as refused:
        return "refused", " ".join(str(refused).split())
    dated = prompt_on(family, 2024) != prompt_on(family, 2031)
    return "works, dated" if dated else "works", f"`{tokenizer.decode(rendered.answer)}`"


def prompt_on(family: Family, year: int) -> list[int]:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(year, 1, 1)  # noqa: DTZ001

    with patch("transformers.utils.chat_template_utils.datetime", Clock):
        taken = cast(Tokenizer, family.tokenizer())
        return render_all(taken, spec(), [(TURN, ANSWER)], (), 0.05).rows[0].prompt
