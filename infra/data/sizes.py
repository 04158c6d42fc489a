"""How many tokens a text takes, without a tokenizer: for sizes that must hold for any model."""

from __future__ import annotations

import re
from math import ceil

# What the laptop's engine reads (infra/vllm.py), and what its recipe trains on
# (services/trainer/recipes/tiny-cpu.yaml), in tokens.
SERVED = 1024
TRAINED = 512
# The short system prompt and the chat template around a row.
FRAME = 60
LETTERS = re.compile(r"[A-Za-z\s]", re.ASCII)
# The end of an answer, and the space that some tokenizers put in front.
ENDS = 2


def at_most(text: str) -> int:
    """Return a number of tokens that `text` as an answer never exceeds, its end included.

    A token is at least a byte of UTF-8, with tokenizers of bytes and of pieces with bytes to fall
    back on alike.
    """
    return len(text.encode()) + ENDS


def about(text: str) -> int:
    """Return about how many tokens a text takes, rather too many than too few.

    Letters of English come three or more to a token, digits and signs one by one, and other
    scripts at most one for each byte.
    """
    others = LETTERS.sub("", text)
    return ceil((len(text) - len(others)) / 3) + len(others.encode())
