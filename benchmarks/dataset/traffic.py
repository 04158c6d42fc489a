"""Made-up traffic: what the bundled messages would look like from very many people.

Questions repeat by Zipf's law; of the others half are written into templates that thousands share,
with names, order numbers and greetings.
"""

from __future__ import annotations

import csv
import json
import random
from itertools import accumulate
from pathlib import Path

from schemas.route import RouteSpec
from services.dataset_builder.rows import DatasetRow
from tests import factories

MESSAGES = Path(__file__).parents[2] / "examples" / "support" / "messages.csv"
# Distinct questions for each verdict.
DISTINCT = 0.4
AUDITED = 0.04
WRONG = 0.02
LONG_WORDS = 200
REVIEWERS = tuple(f"reviewer-{number}" for number in range(7))
NAMES = ("Ana", "Bo", "Chen", "Dana", "Eli", "Gus", "Irma", "Jan", "Kofi", "Lena", "Omar", "Pia")
TEMPLATES = (
    "{text}",
    "{text}",
    "Hello, my name is {name}. {text} Thank you!",
    "Order {order}: {text}",
    "Name: {name} / Topic: Support / Message: {text} / Sent from our site",
    "{text} My customer number is C-{order}, please answer soon. {name}",
)
ENDINGS = (
    "",
    " please",
    " as soon as you can",
    " since {days} days now",
    " and nobody answers",
    " on my {device}",
    " again",
)
DEVICES = ["phone", "laptop", "tablet", "desktop", "browser", "watch"]


def bundled() -> list[tuple[str, str]]:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


MESSAGES_AND_LABELS = bundled()
LABELS = tuple(sorted({label for _, label in MESSAGES_AND_LABELS}))
SPEC: RouteSpec = factories.spec(labels=LABELS)


def short_messages(rows: int, seed: int = 1) -> list[DatasetRow]:
    """Return verdicts on messages of some twenty words, oldest first."""
    rng = random.Random(seed)
    # Each text is in memory once, as the rows that are read from the database have it.
    questions = [written(rng) for _ in range(round(rows * DISTINCT))]
    questions = [(as_turns(text), label) for text, label in questions]
    weights = list(accumulate(1 / rank for rank in range(1, len(questions) + 1)))
    return [
        verdict(number, *question, rng)
        for number, question in enumerate(rng.choices(questions, cum_weights=weights, k=rows))
    ]


def long_texts(rows: int, seed: int = 1) -> list[DatasetRow]:
    """Return verdicts on texts of 200 words, one in twenty a slight change of another."""
    rng = random.Random(seed)
    made: list[tuple[str, str]] = []
    for _ in range(rows):
        if made and rng.random() < 0.05:
            text, label = rng.choice(made)
            words = text.split()
            for _ in range(6):
                words[rng.randrange(len(words))] = rng.choice(NAMES)
        else:
            words, label = [], rng.choice(LABELS)
            while len(words) < LONG_WORDS:
                words += written(rng)[0].split()
        made.append((" ".join(words[:LONG_WORDS]), label))
    return [
        verdict(number, as_turns(text), label, rng) for number, (text, label) in enumerate(made)
    ]


def as_turns(text: str) -> str:
    return json.dumps([{"role": "user", "content": text}])


def written(rng: random.Random) -> tuple[str, str]:
    """Return a message as somebody would write it, with its label: two sentences, in a template."""
    text, label = rng.choice(MESSAGES_AND_LABELS)
    other, _ = rng.choice(MESSAGES_AND_LABELS)
    half = other.split()
    text = f"{text} {' '.join(half[: rng.randrange(3, 9)])}{rng.choice(ENDINGS)}"
    text = text.replace("{days}", str(rng.randrange(2, 40))).replace(
        "{device}", rng.choice(DEVICES)
    )
    template = rng.choice(TEMPLATES)
    written_as = template.format(
        text=text, name=rng.choice(NAMES), order=rng.randrange(10_000_000, 99_999_999)
    )
    return written_as, label


def verdict(number: int, messages: str, label: str, rng: random.Random) -> DatasetRow:
    return DatasetRow(
        review_id=f"00000000-0000-7000-8000-{number:012}",
        inference_id=f"00000000-0000-7000-9000-{number:012}",
        reviewer=REVIEWERS[number % len(REVIEWERS)],
        reviewed_us=1_700_000_000_000_000 + number * 60_000_000,
        label_source="corrected" if rng.random() < 0.2 else "approved",
        messages=messages,
        answer=rng.choice(LABELS) if rng.random() < WRONG else label,
        audit=rng.random() < AUDITED,
        asked_us=1_699_000_000_000_000 + number * 60_000_000,
        reason="sampled",
        model_answer=label,
        arm="base",
        probability=0.1,
        coin=0.05,
    )
