"""How near texts are, by values that were worked out by hand."""

from __future__ import annotations

import pytest

from services.evaluator.texts import chrf, mean, rouge_l, tokens


@pytest.mark.parametrize(
    ("expected", "answered", "value"),
    [
        ("the cat sat", "the cat", 0.8),
        ("The cat sat.", "the CAT, sat", 1.0),
        ("a b c d", "d c b a", 0.25),
        ("", "x", 0.0),
        ("", " ", 1.0),
        # Six and four characters, four of them in order; split at blanks they would share nothing.
        ("猫が好きです", "猫が好き", 0.8),
        ("สวัสดี", "สวัส", 2 * 3 / (4 + 3)),
        ("한국어 문장", "한국어 글", 0.5),
        ("ＡＢＣ", "abc", 1.0),
    ],
)
def test_the_longest_common_subsequence(expected: str, answered: str, value: float) -> None:
    assert rouge_l(expected, answered) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("iPhoneを買う", ["iphone", "を", "買", "う"]),
        ("ខ្មែរ", ["ខ្មែ", "រ"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
        ("မြန်မာ", ["မြ", "န်", "မ", "ာ"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("naïve, 2 dogs!", ["naïve", "2", "dogs"]),
    ],
)
def test_tokens_are_words_or_characters_by_script(text: str, found: list[str]) -> None:
    assert tokens(text) == found


def test_character_n_grams() -> None:
    assert chrf("the cat", "the cat") == pytest.approx(1.0)
    assert chrf("", "x") == 0.0 and chrf("x", "") == 0.0 and chrf("", "") == 1.0
    # Of one, two ... n-grams of "abc" those of "ab": F2 of precision 1 and recall 2/3, 1/2 and 0.
    assert chrf("abc", "ab") == pytest.approx((5 * 2 / 3 / (4 + 2 / 3) + 5 / 2 / 4.5 + 0) / 3)
    assert chrf("猫が好き", "猫が") > chrf("猫が好き", "犬は")


def test_means() -> None:
    assert mean(rouge_l, ["a b", "c"], ["a b", "d"]) == 0.5
    assert mean(rouge_l, [], []) == 0.0
