"""Hidden characters become visible; ordinary writing, emoji included, stays as it is."""

import pytest

from services.review.display import KEYS, excerpt, label_keys, segments
from tests import factories


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "two\nlines\tand a tab",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f 1\ufe0f\u20e3",
        "مرحبا",
        "naïve €",
    ],
)
def test_ordinary_text_is_one_segment(text: str) -> None:
    assert [part.text for part in segments(text)] == [text]


@pytest.mark.parametrize(
    "hidden",
    [
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "\u00ad",
        "\x00",
        "\x1b",
        "\U000e0041",
        "\u3164",
        "\ufe00",
        "\u200d",
        "\u2060",
    ],
)
def test_a_hidden_character_is_named(hidden: str) -> None:
    before, mark, after = segments(f"a{hidden}b")
    assert (before.text, mark.text, after.text) == ("a", f"U+{ord(hidden):04X}", "b") and mark.name


def test_every_label_up_to_31_has_a_key_of_its_own() -> None:
    labels = tuple(f"label-{number}" for number in range(40))
    keys = label_keys(factories.spec(labels=labels), "label-3")
    assert [choice.key for choice in keys[:31]] == list(KEYS) and {
        choice.key for choice in keys[31:]
    } == {None}
    assert (
        len(set(KEYS)) == 31
        and not set(KEYS) & set("acrs")
        and [choice.label for choice in keys if choice.is_models] == ["label-3"]
    )


def test_excerpts_are_one_short_line() -> None:
    assert excerpt("a\n b  c") == "a b c" and len(excerpt("x" * 500)) == 140
