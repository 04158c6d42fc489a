"""Rows for the dataset-builder's tests: real messages, and faults planted among them, with a judge
that knows where.
"""

from __future__ import annotations

import csv
import json
import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from schemas.route import RouteSpec
from services.dataset_builder.assemble import Assembled, Verdicts, assemble, refuse_if_unfit
from services.dataset_builder.curate import curate
from services.dataset_builder.order import BuildOrder
from services.dataset_builder.rows import Candidate, DatasetRow
from tests import factories

HOUR_US = 3_600_000_000
MESSAGES = Path(__file__).parents[3] / "examples" / "support" / "messages.csv"


def messages() -> list[tuple[str, str]]:
    with MESSAGES.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def route(**changes) -> RouteSpec:
    return factories.spec(
        **({"labels": tuple(sorted({label for _, label in messages()}))} | changes)
    )


def labelled(labels: list[str]) -> RouteSpec:
    """Return a classification route of these labels; a label is its own description."""
    return factories.spec(labels=tuple(labels if len(labels) > 1 else [*labels, "else"]))


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
    plain = " ".join(unicodedata.normalize("NFKC", text).lower().split())
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
        default_factory=lambda: {"repeat": [], "alike": [], "contradiction": [], "audited": []}
    )


def planted(seed: int = 7) -> Planted:
    """5 % repeats, 5 % texts that are alike, 3 % contradictions, 2 % of audited verdicts again
    (docs/methods.md, section 7).
    """
    rng = random.Random(seed)
    result = Planted()
    texts = messages()
    rng.shuffle(texts)
    labels = sorted({label for _, label in texts})
    for number, (text, label) in enumerate(texts):
        result.rows.append(row(number, text, label, asked_us=number * HOUR_US))
        result.clean.add(f"review-{number:07}")
    fates = rng.sample(range(len(texts)), len(texts) * 15 // 100)
    cuts = [len(texts) * share // 100 for share in (5, 10, 13, 15)]
    for place, victim in enumerate(fates):
        kind = next(name for name, cut in zip(result.pairs, cuts, strict=True) if place < cut)
        text, label = texts[victim]
        copy = alike(text, rng) if kind == "alike" else again(text, rng)
        if copy is None:
            continue
        wrong = rng.choice([name for name in labels if name != label])
        number = len(result.rows)
        result.rows.append(
            row(
                number,
                copy,
                wrong if kind == "contradiction" else label,
                audit=kind == "audited",
                asked_us=victim * HOUR_US + rng.randrange(HOUR_US),
            )
        )
        result.clean.discard(f"review-{victim:07}")
        result.pairs[kind].append((f"review-{victim:07}", f"review-{number:07}"))
    return result


def again(text: str, rng: random.Random) -> str:
    return f"  {text.upper()} " if rng.random() < 0.5 else text.replace(" ", "  ", 1)


def alike(text: str, rng: random.Random) -> str | None:
    return next(
        (copy for _ in range(50) if 0.8 <= jaccard(text, copy := edited(text, rng)) < 1), None
    )


@dataclass(frozen=True)
class Score:
    """What share of each planted fault was dealt with, and what share of the innocent was lost."""

    repeat: float
    alike: float
    contradiction: float
    audited: float
    false_drops: float

    def good_enough(self) -> bool:
        return (
            self.repeat == 1.0
            and self.alike >= 0.95
            and self.contradiction == 1.0
            and self.audited == 1.0
            and self.false_drops == 0.0
        )


def score(plan: Planted, training: Sequence[Candidate]) -> Score:
    """A repeat is dealt with when one of the two stays, what is alike when both stay and share a
    cluster, a contradiction when not both stay, an audited verdict when it is gone.
    """
    kept = {item.row.review_id: item for item in training}
    dealt = {
        "repeat": lambda one, other: len({one, other} & kept.keys()) == 1,
        "alike": lambda one, other: (
            {one, other} <= kept.keys() and kept[one].cluster == kept[other].cluster
        ),
        "contradiction": lambda one, other: not {one, other} <= kept.keys(),
        "audited": lambda one, _: one not in kept,
    }
    shares = {
        kind: sum(dealt[kind](one, other) for one, other in pairs) / len(pairs)
        for kind, pairs in plan.pairs.items()
    }
    return Score(**shares, false_drops=len(plan.clean - kept.keys()) / len(plan.clean))


def assembled(rows: Sequence[DatasetRow], spec: RouteSpec, **order) -> Assembled:
    """Build a dataset of the rows, or raise why there is none."""
    verdicts = Verdicts(rows, Counter())
    curated = curate(rows, spec)
    refuse_if_unfit(verdicts, curated, spec, accept_losses=False)
    build = BuildOrder(**{"route": spec.name, "build": 1, "because": "", "spec": spec} | order)
    return assemble(verdicts, curated, build, set())


def text_of(row: DatasetRow) -> str:
    return " ".join(turn["content"] for turn in json.loads(row.messages))
