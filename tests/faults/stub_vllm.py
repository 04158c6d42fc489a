"""What the two stub vLLMs know: the base model always answers wrong, an adapter knows every text of
the workload.
"""

from __future__ import annotations

import random

LABELS = {
    "delivery": (
        "my parcel is late",
        "the courier never rang",
        "tracking has not moved",
        "the box went to the wrong town",
    ),
    "refund": (
        "I want my money back",
        "you charged me twice",
        "the credit never arrived",
        "please return what I paid",
    ),
}
PLACES = (
    "Leeds",
    "Oslo",
    "Turin",
    "Porto",
    "Lviv",
    "Ghent",
    "Kiel",
    "Bern",
    "Riga",
    "Brno",
    "Cork",
    "Metz",
    "Vigo",
    "Pisa",
    "Lund",
    "Graz",
)
THINGS = (
    "lamp",
    "kettle",
    "jacket",
    "chair",
    "mirror",
    "printer",
    "tent",
    "blender",
    "carpet",
    "bicycle",
    "camera",
    "piano",
    "ladder",
    "stove",
)
TIMES = (
    "since Monday",
    "for a week now",
    "again",
    "as before",
    "this morning",
    "since March",
    "and nobody answers",
    "after two calls",
)


def question(rng: random.Random) -> tuple[str, str]:
    """A text no other is a near-duplicate of, and its right label."""
    label = rng.choice(list(LABELS))
    word = "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(4))
    parts = [
        rng.choice(LABELS[label]),
        rng.choice(TIMES),
        f"about the {word} {rng.choice(THINGS)} in {rng.choice(PLACES)}",
    ]
    rng.shuffle(parts)
    return " ".join(parts), label


def label_of(text: str) -> str:
    return next(
        (label for label, phrases in LABELS.items() if any(phrase in text for phrase in phrases)),
        "delivery",
    )


def knowing(model: str, messages: list[dict]) -> tuple[str, float]:
    if model == "base":
        return "password", -1.5
    return label_of(messages[-1]["content"]), -0.02
