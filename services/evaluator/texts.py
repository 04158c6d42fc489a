"""How near a text is to the one a reviewer approved: reported of free text, and never decided upon,
since two good texts differ.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import regex
from rapidfuzz.distance import LCSseq

# Of scripts that put no blanks between words each character is a token, with its marks: Thai, Lao,
# Khmer and Burmese by their property of line breaking; and those of Chinese and Japanese.
CHARACTERS = r"[\p{Line_Break=Complex_Context}\p{Ideographic}\p{Hiragana}\p{Katakana}]"
TOKEN = regex.compile(rf"(?V1)(?={CHARACTERS})\X|[[\p{{L}}\p{{M}}\p{{N}}]--{CHARACTERS}]+")
# Recall counts twice as much as precision (Popović 2016, chrF deconstructed).
BETA = 2.0
LONGEST = 6


def tokens(text: str) -> list[str]:
    """Return the words of a text, or its characters where a script has no blanks; without marks of
    punctuation, and alike in upper and lower case.
    """
    found: list[str] = TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    return found


def rouge_l(expected: str, answered: str) -> float:
    """Return the F1 of the longest common subsequence of tokens (Lin 2004)."""
    want, got = tokens(expected), tokens(answered)
    if not want or not got:
        return float(want == got)
    return 2 * LCSseq.similarity(want, got) / (len(want) + len(got))


def chrf(expected: str, answered: str) -> float:
    """Return the F2 of character n-grams of up to six (Popović 2015), fewer in shorter texts."""
    # It takes 2.5 s to import.
    from nltk.translate.chrf_score import sentence_chrf

    want, got = ("".join(text.split()) for text in (expected, answered))
    if not want or not got:
        return float(want == got)
    return float(sentence_chrf(want, got, max_len=min(LONGEST, len(want)), beta=BETA))


def mean(measure: Callable[[str, str], float], want: Sequence[str], got: Sequence[str]) -> float:
    return sum(map(measure, want, got)) / max(len(want), 1)
