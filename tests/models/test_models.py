"""The page of base models is what their templates do."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.rendering import render
from tests.factories import spec
from tests.models.families import FAMILIES
from tests.models.page import TURN, page, verdict_on


def test_the_page_is_what_the_templates_do() -> None:
    assert Path("docs/models.md").read_text() == page(), "next: python -m tests.models"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_trained_on_up_to_its_end_or_refused_in_a_sentence(family) -> None:
    verdict, words = verdict_on(family)
    if verdict == "refused":
        assert len(words.split()) > 10
        assert "Traceback" not in words
    else:
        assert words.strip("` ").startswith("delivery")
        assert words.strip("`").removeprefix(" ").removeprefix("delivery") in {
            family.eos,
            *family.ends,
        }


@pytest.mark.parametrize(
    "family", [one for one in FAMILIES if verdict_on(one)[0] != "refused"], ids=lambda one: one.name
)
def test_an_end_token_in_an_answer_is_text(family) -> None:
    tokenizer = family.tokenizer()
    ends = tokenizer.convert_tokens_to_ids([family.eos, *family.ends])
    answer = f"Use {family.eos} to close a turn."
    learned = render(tokenizer, spec(), TURN, answer, ends).answer
    assert learned[-1] in ends
    assert not set(learned[:-1]) & set(ends)
    assert tokenizer.decode(learned[:-1]).strip() == answer
