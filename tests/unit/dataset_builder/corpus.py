"""Rows for the dataset-builder's tests: real messages, and faults planted among them, with a judge
that knows where.
"""

from __future__ import annotations

import csv
import json
import random
import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path

from schemas.route import RouteSpec
from services.dataset_builder.rows import Candidate, DatasetRow
from services.dataset_builder.split import Splits
from tests import factories

MESSAGES = Path(__file__).parents[3] / "examples" / "support" / "messages.csv"


def messages() -> list[tuple[str, str]]:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def route(**changes) -> RouteSpec:
    return factories.spec(
        **({"labels": tuple(sorted({label for _, label in messages()}))} | changes)
    )


def row(number: int, text: str, answer: str, **changes) -> DatasetRow:
    values = {
        "review_id": f"review-{number:07}",
        "inference_id": f"inference-{number:07}",
        "reviewer": f"reviewer-{number % 3}",
        "reviewed_us": 1_700_000_000_000_000 + number,
        "label_source": "corrected",
        "answer": answer,
        "audit": False,
        "messages": json.dumps([{"role": "user", "content": text}]),
    }
    return DatasetRow(**(values | changes))


@cache
def grams(text: str) -> frozenset[str]:
    """Written apart from the product, so that both must be right."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = " ".join(re.sub(r"\S*\d\S*", "0", re.sub(r"\S+@\S+|\S+://\S+", "@", plain)).split())
    return frozenset(plain[i : i + 5] for i in range(max(1, len(plain) - 4)))


def jaccard(one: str, other: str) -> float:
    a = grams(one)
    b = grams(other)
    return len(a & b) / len(a | b)


def edited(text: str, rng: random.Random) -> str:
    """A few words changed, as when the same person asks again."""
    words = text.split()
    for _ in range(max(1, len(words) // 12)):
        words[rng.randrange(len(words))] = rng.choice(
            ["please", "now", "again", "really", "thanks"]
        )
    return " ".join(words)


@dataclass
class Planted:
    rows: list[DatasetRow] = field(default_factory=list)
    clean: set[str] = field(default_factory=set)
    pairs: dict[str, list[tuple[str, str]]] = field(
        default_factory=lambda: {"exact": [], "near": [], "contradiction": [], "leak": []}
    )


def planted(seed: int = 7) -> Planted:
    """5 % exact duplicates, 5 % near duplicates, 3 % contradictions, 2 % leaks (docs/methods.md,
    section 7).
    """
    rng = random.Random(seed)
    result = Planted()
    texts = messages()
    rng.shuffle(texts)
    labels = sorted({label for _, label in texts})
    for number, (text, label) in enumerate(texts):
        result.rows.append(row(number, text, label, audit=False))
        result.clean.add(f"review-{number:07}")
    fates = rng.sample(range(len(texts)), len(texts) * 15 // 100)
    cuts = [len(texts) * share // 100 for share in (5, 10, 13, 15)]
    for place, victim in enumerate(fates):
        kind = next(name for name, cut in zip(result.pairs, cuts, strict=True) if place < cut)
        text, label = texts[victim]
        copy = _copy(kind, text, rng)
        number = len(result.rows)
        if copy is None:
            continue
        other = (
            rng.choice([name for name in labels if name != label])
            if kind == "contradiction"
            else label
        )
        result.rows.append(row(number, copy, other, audit=kind == "leak"))
        result.clean.discard(f"review-{victim:07}")
        result.pairs[kind].append((f"review-{victim:07}", f"review-{number:07}"))
    return result


def _copy(kind: str, text: str, rng: random.Random) -> str | None:
    if kind in ("exact", "contradiction"):
        return f"  {text.upper()} " if rng.random() < 0.5 else text.replace(" ", "  ", 1)
    least = 0.8 if kind == "near" else 0.6
    return next(
        (copy for _ in range(50) if least <= jaccard(text, copy := edited(text, rng)) < 1), None
    )


@dataclass(frozen=True)
class Score:
    """What share of each planted fault was dealt with, and what share of the innocent was lost."""

    exact: float
    near: float
    contradiction: float
    leak: float
    false_drops: float

    def good_enough(self) -> bool:
        return (
            self.exact >= 0.99
            and self.near >= 0.9
            and self.contradiction >= 0.95
            and self.leak == 1.0
            and self.false_drops < 0.01
        )


def score(plan: Planted, training: list[Candidate]) -> Score:
    kept = {item.row.review_id for item in training}
    caught = {
        kind: sum(not {one, other} <= kept for one, other in pairs) / len(pairs)
        for kind, pairs in plan.pairs.items()
        if kind != "leak"
    }
    leaks = sum(original not in kept for original, _ in plan.pairs["leak"]) / len(
        plan.pairs["leak"]
    )
    return Score(**caught, leak=leaks, false_drops=len(plan.clean - kept) / len(plan.clean))


def leaking_pairs(parts: Splits, at_least: float = 0.6) -> list[tuple[str, str]]:
    """Every pair of rows in different splits that is as similar as `at_least`, found the slow
    way.
    """
    found = []
    for one, other in combinations(parts, 2):
        left, right = (
            [(item.row.review_id, grams(text_of(item.row))) for item in parts[name]]
            for name in (one, other)
        )
        for a, some in left:
            for b, others in right:
                shared = len(some & others)
                if shared >= at_least * (len(some) + len(others) - shared):
                    found.append((a, b))
    return found


def text_of(row: DatasetRow) -> str:
    return " ".join(turn["content"] for turn in json.loads(row.messages))
