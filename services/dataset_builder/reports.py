"""What a person should know of a dataset before it is trained on: how even its labels are, who and
what it comes from, what looks wrong in it, and how far it is from live traffic.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import log
from statistics import quantiles

from schemas.base import JsonObject
from services.dataset_builder.languages import language, sampled
from services.dataset_builder.rows import Candidate
from services.dataset_builder.votes import grouped

# Interquartile ranges of the log length: Tukey's "far out".
OUTLIER_SPREAD = 3.0
OUTLIERS_SHOWN = 100
# A label with a smaller share, or fewer rows, is rare: accuracy over all hardly moves with it.
RARE_SHARE = 0.02
RARE_ROWS = 20
# Of one reviewer's verdicts, a dataset should not consist.
ONE_SOURCE = 0.5


def balance(training: Sequence[Candidate], everyone: Sequence[Candidate]) -> JsonObject:
    """Return, by label, rows and verdicts trained on and the share of live traffic; which labels
    are rare; and the ratio of the largest to the smallest.
    """
    rows = Counter(one.label for one in training if one.label)
    verdicts: Counter[str] = Counter()
    for one in training:
        verdicts[one.label] += one.count
    live = live_shares(everyone)
    total = max(len(training), 1)
    return {
        "labels": {
            label: {
                "rows": rows[label],
                "verdicts": verdicts[label],
                "share": round(rows[label] / total, 4),
                "live_share": live.get(label),
            }
            for label in sorted(rows)
        },
        "rare": sorted(label for label in rows if rows[label] < max(RARE_ROWS, RARE_SHARE * total)),
        "largest_to_smallest": round(max(rows.values()) / min(rows.values()), 1) if rows else None,
    }


def live_shares(everyone: Iterable[Candidate]) -> dict[str, float]:
    """Estimate each label's share of live traffic: every verdict stands for 1 / its probability of
    being reviewed (Horvitz and Thompson 1952). Empty where no probability was kept.
    """
    weights: defaultdict[str, float] = defaultdict(float)
    for one in everyone:
        if one.row.probability:
            weights[one.label] += 1 / one.row.probability
    total = sum(weights.values())
    return {label: round(weight / total, 4) for label, weight in sorted(weights.items())}


def length_outliers(candidates: Sequence[Candidate]) -> JsonObject:
    """Return how many inputs are far longer or shorter than the rest, and which, the longest first.

    They are kept; a person may want to look.
    """
    if len(candidates) < 8:
        return {"count": 0, "review_ids": []}
    logs = [log(1 + len(one.question.text)) for one in candidates]
    low, _, high = quantiles(logs, n=4)
    margin = OUTLIER_SPREAD * max(high - low, 0.1)
    far = [
        (value, one.row.review_id)
        for value, one in zip(logs, candidates, strict=True)
        if not low - margin <= value <= high + margin
    ]
    shown = [review_id for _, review_id in sorted(far, reverse=True)[:OUTLIERS_SHOWN]]
    return {"count": len(far), "review_ids": shown}


def bias(everyone: Sequence[Candidate]) -> JsonObject:
    """Return, by language, by script, by length and by why a row was sampled, how many rows there
    are and what share of the model's answers reviewers corrected; by language of a sample.
    """
    lengths = sorted(len(one.question.text) for one in everyone)
    cuts = [lengths[len(lengths) * part // 4] for part in (1, 2, 3)] if lengths else []
    return {
        "language": corrected_by(sampled(everyone), lambda one: language(one.question.text)),
        "script": corrected_by(everyone, lambda one: script(one.question.text)),
        "length": corrected_by(everyone, lambda one: _quarter(len(one.question.text), cuts)),
        "source": corrected_by(everyone, lambda one: one.row.reason or "unknown"),
        "arm": corrected_by(everyone, lambda one: one.row.arm or "unknown"),
    }


def corrected_by(
    everyone: Iterable[Candidate], kind: Callable[[Candidate], str]
) -> dict[str, JsonObject]:
    groups = grouped(everyone, kind)
    return {
        str(name): {
            "rows": len(group),
            "corrected": round(
                sum(one.row.label_source == "corrected" for one in group) / len(group), 3
            ),
        }
        for name, group in sorted(groups.items(), key=lambda item: str(item[0]))
    }


def script(text: str) -> str:
    """Return the script of most letters, as Unicode names it: latin, cjk, arabic, ..."""
    names = Counter(
        unicodedata.name(letter, "?").split()[0] for letter in text[:200] if letter.isalpha()
    )
    return names.most_common(1)[0][0].lower() if names else "none"


def _quarter(length: int, cuts: Sequence[int]) -> str:
    place = sum(length >= cut for cut in cuts)
    low = cuts[place - 1] if place else 0
    return f"from {low}" if place == len(cuts) else f"{low} to {cuts[place]}"


def one_sided(everyone: Sequence[Candidate]) -> list[str]:
    """Return the reviewers from whom more than half of the rows come."""
    counts = Counter(one.row.reviewer for one in everyone)
    return sorted(name for name, count in counts.items() if count > ONE_SOURCE * len(everyone))
