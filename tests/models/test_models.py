"""The page of base models is what their templates do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.families import FAMILIES
from tests.models.page import page, verdict_on


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
