"""What is in a file, roughly: its scripts, lengths and personal data."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from statistics import median

from infra.data.reading import DataFile, Sample
from infra.data.sizes import about
from shared.privacy import redact

# Messages that are looked at: redaction takes about 0.1 ms each.
LOOKED_AT = 2000
SCRIPTS = {
    "CJK": "Chinese characters",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
}


@dataclass(frozen=True)
class Look:
    """Figures over the first messages."""

    scripts: dict[str, int]
    shortest: int
    median: int
    longest: int
    longest_tokens: int
    personal: int


def look_at(data: DataFile) -> Look:
    looked = data.samples[:LOOKED_AT]
    lengths = [len(sample.text) for sample in data.samples]
    return Look(
        scripts=dict(Counter(map(script, looked)).most_common()),
        shortest=min(lengths),
        median=round(median(lengths)),
        longest=max(lengths),
        longest_tokens=max(about(sample.text) for sample in data.samples),
        personal=sum(redact(sample.text) != sample.text for sample in looked),
    )


def script(sample: Sample) -> str:
    """Return the script of most letters of a message; one kana makes it Japanese."""
    found = Counter(
        SCRIPTS.get(name, name.title())
        for letter in sample.text[:500]
        if letter.isalpha() and (name := unicodedata.name(letter, "OTHER").split()[0])
    )
    if not found:
        return "no letters"
    return "Japanese" if found["Japanese"] else found.most_common(1)[0][0]
