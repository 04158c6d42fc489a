"""What the demo sends: labelled messages, from the bundled set or from anyone's CSV."""

from __future__ import annotations

import csv
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

from schemas.route import RouteSpec
from shared.errors import Invalid
from shared.rules import redact

BUNDLED = Path(__file__).parents[2] / "examples/support"
# Of the traffic after the new kinds of requests appeared.
LATE_SHARE = 0.6
# While the new labels are being learned: the new product is in the news.
MORE_LATE_SHARE = 0.8
# What the story sends when nothing is refused
NEEDED_PER_LABEL = 40
NEEDED_EVERYDAY = 640
NEEDED_LATE = 280


class DataUnusable(Invalid):
    """The CSV cannot carry the story; the message says what is missing."""


@dataclass(frozen=True)
class Sample:
    text: str
    label: str


@dataclass
class DemoData:
    """Samples of the everyday labels and of the late ones; `take` never repeats a message."""

    spec: RouteSpec
    late: dict[str, str]
    everyday_pool: list[Sample]
    late_pool: list[Sample]

    def take(self, n: int, late_share: float = 0.0) -> list[Sample]:
        """Take the next `n` samples, a share of them late ones; fewer when the data runs out."""
        n_late = min(round(n * late_share), len(self.late_pool))
        chosen = [self.late_pool.pop() for _ in range(n_late)]
        chosen += [
            self.everyday_pool.pop() for _ in range(min(n - n_late, len(self.everyday_pool)))
        ]
        random.Random(len(self.everyday_pool)).shuffle(chosen)
        return chosen

    def spec_with_late_labels(self) -> RouteSpec:
        """Return the route after its owners added the new labels."""
        return self.spec.model_copy(
            update={
                "labels": (*self.spec.labels, *self.late),
                "label_descriptions": self.spec.label_descriptions | self.late,
            }
        )

    def true_labels(self) -> dict[str, str]:
        """Return the right label by the text that a reviewer sees, which is redacted."""
        return {
            redact(sample.text): sample.label for sample in [*self.everyday_pool, *self.late_pool]
        }


def bundled(seed: int) -> DemoData:
    spec = RouteSpec.model_validate(yaml.safe_load((BUNDLED / "route.yaml").read_text()))
    late = yaml.safe_load((BUNDLED / "late_labels.yaml").read_text())
    return split(read_csv(BUNDLED / "messages.csv", "text", "label"), demo_spec(spec), late, seed)


def from_csv(
    path: Path, text_column: str, label_column: str, late_labels: list[str], labels: int, seed: int
) -> DemoData:
    """Read labelled rows, of the most frequent labels.

    The last of these are the late ones, unless `late_labels` names them.
    """
    samples = read_csv(path, text_column, label_column)
    counts = Counter(sample.label for sample in samples)
    if unknown := set(late_labels) - set(counts):
        raise DataUnusable(
            f"--late-labels names {sorted(unknown)}, which the column '{label_column}' does not"
            f" hold; it holds: {_some(counts)}"
        )
    everyday = [
        label
        for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if label not in late_labels
    ]
    if not late_labels:
        n_late = max(1, round(labels * 0.3))
        late_labels = everyday[labels - n_late : labels]
    everyday = [label for label in everyday if label not in late_labels][
        : labels - len(late_labels)
    ]
    _check(counts, everyday, late_labels)
    chosen = {*everyday, *late_labels}
    return split(
        [s for s in samples if s.label in chosen],
        generic_spec(everyday),
        {label: spoken(label) for label in late_labels},
        seed,
    )


def read_csv(path: Path, text_column: str, label_column: str) -> list[Sample]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for column in (text_column, label_column):
                if column not in (reader.fieldnames or []):
                    raise DataUnusable(
                        f"{path} has no column '{column}'; its columns are:"
                        f" {', '.join(reader.fieldnames or ['none'])}"
                    )
            rows = {
                row[text_column].strip(): row[label_column].strip()
                for row in reader
                if row[text_column] and row[label_column]
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataUnusable(f"{path} cannot be read as a UTF-8 CSV file: {error}") from error
    return [Sample(text, label) for text, label in rows.items() if text and label]


def split(samples: list[Sample], spec: RouteSpec, late: dict[str, str], seed: int) -> DemoData:
    shuffled = sorted(samples, key=lambda sample: sample.text)
    random.Random(seed).shuffle(shuffled)
    return DemoData(
        spec,
        late,
        balanced([s for s in shuffled if s.label in spec.labels]),
        balanced([s for s in shuffled if s.label in late]),
    )


def balanced(samples: list[Sample]) -> list[Sample]:
    """Order samples label by label, so that every stretch of traffic holds all of them."""
    by_label: dict[str, list[Sample]] = {}
    for sample in samples:
        by_label.setdefault(sample.label, []).append(sample)
    longest = max(map(len, by_label.values()), default=0)
    return [rows[i] for i in range(longest) for rows in by_label.values() if i < len(rows)][::-1]


def demo_spec(spec: RouteSpec) -> RouteSpec:
    """Give a route the windows that the length of this demo allows."""
    return spec.model_copy(
        update={
            "drift": spec.drift.model_copy(
                update={"reference": 80, "window": 40, "tolerated_error": 0.25}
            )
        }
    )


def generic_spec(labels: list[str]) -> RouteSpec:
    """Make a route for labels of which only the names are known."""
    longest = max(map(len, labels))
    return demo_spec(
        RouteSpec.model_validate(
            {
                "name": "acme/your-data",
                "labels": labels,
                "label_descriptions": {label: spoken(label) for label in labels},
                "system_prompt": "Classify the customer message. Answer with one label.",
                "detailed_prompt": (
                    "You sort customer messages. Choose the one label that fits what the customer"
                    " wants.\n\nLabels:\n{label_descriptions}\n\nAnswer with exactly one of these"
                    " labels and nothing else: {labels}"
                ),
                "max_tokens": max(8, longest // 2),
                "review": {"rate": 0.2, "audit_rate": 0.2, "unsure_rate": 1.0},
                "retrain": {"min_new_verdicts": 270, "min_new_after_drift": 150},
                "minimum_per_label": 10,
            }
        )
    )


def spoken(label: str) -> str:
    return label.replace("_", " ").replace("-", " ").lower()


def _check(counts: Counter[str], everyday: list[str], late: list[str]) -> None:
    if len(everyday) < 2 or not late:
        raise DataUnusable(
            "the story needs at least two everyday labels and one late one; the data has"
            f" {len(counts)} labels: raise --labels or add rows"
        )
    if short := {
        label: counts[label] for label in [*everyday, *late] if counts[label] < NEEDED_PER_LABEL
    }:
        raise DataUnusable(
            f"each label needs at least {NEEDED_PER_LABEL} rows; too few for {short}: lower"
            " --labels or add rows"
        )
    for kind, labels, needed in (
        ("everyday", everyday, NEEDED_EVERYDAY),
        ("late", late, NEEDED_LATE),
    ):
        if (rows := sum(counts[label] for label in labels)) < needed:
            raise DataUnusable(
                f"the story sends {needed} messages of the {kind} labels, and {labels} have {rows}"
                " rows: choose others or add rows"
            )


def _some(counts: Counter[str]) -> str:
    names = sorted(counts)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
