"""What the demo sends: labelled messages, from the bundled set or from anyone's file."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from infra.data.reading import Reading, Sample, read_file
from infra.demo.plan import Plan
from schemas.route import CanaryChoice, RouteSpec
from shared.privacy import redact

# Of simulated reviewers one verdict in 33 is wrong, and counts against the adapter. At a tenth,
# which is the default, 221 audited rows did not certify one that is right in 98 of 100.
MAX_RISK = 0.2
BUNDLED = Path(__file__).parents[2] / "examples/support"


@dataclass
class DemoData:
    """Samples of the everyday labels and of the late ones; `take` never repeats a message."""

    spec: RouteSpec
    late: dict[str, str]
    everyday_pool: list[Sample]
    late_pool: list[Sample]
    plan: Plan = field(default_factory=Plan)
    # What was decided about the data, in sentences for the screen.
    notes: list[str] = field(default_factory=list)
    sent: list[Sample] = field(default_factory=list)
    # Draws what is sent again.
    chance: random.Random = field(default_factory=lambda: random.Random(0))

    def take(self, n: int, late_share: float = 0.0) -> list[Sample]:
        """Take the next `n` samples, a share of them late ones; fewer when the data runs out."""
        n_late = min(round(n * late_share), len(self.late_pool))
        chosen = [self.late_pool.pop() for _ in range(n_late)]
        chosen += [
            self.everyday_pool.pop() for _ in range(min(n - n_late, len(self.everyday_pool)))
        ]
        random.Random(len(self.everyday_pool)).shuffle(chosen)
        self.sent += chosen
        return chosen

    def repeat(self, n: int, late_share: float = 0.0) -> list[Sample]:
        """Return `n` samples that were sent before, a share of them late ones."""
        late = [sample for sample in self.sent if sample.answer in self.late]
        others = [sample for sample in self.sent if sample.answer not in self.late]
        n_late = min(round(n * late_share), len(late))
        return [
            *self.chance.sample(late, n_late),
            *self.chance.sample(others, min(n - n_late, len(others))),
        ]

    def take_or_repeat(self, n: int, late_share: float = 0.0) -> list[Sample]:
        """Take the next samples; where there are none left, some that were sent before: a canary
        asks for as many as it needs.
        """
        return self.take(n, late_share) or self.repeat(n, late_share)

    @property
    def left(self) -> int:
        return len(self.everyday_pool) + len(self.late_pool)

    def spec_with_late_labels(self) -> RouteSpec:
        """Return the route after its owners added the new labels."""
        return self.spec.model_copy(
            update={
                "labels": (*self.spec.labels, *self.late),
                "label_descriptions": self.spec.label_descriptions | self.late,
            }
        )

    def true_answers(self) -> dict[str, str]:
        """Return the right answer by the text that a reviewer sees, which is redacted."""
        return {
            redact(sample.text): sample.answer for sample in [*self.everyday_pool, *self.late_pool]
        }


def bundled(seed: int) -> DemoData:
    spec = RouteSpec.model_validate(yaml.safe_load((BUNDLED / "route.yaml").read_text()))
    late = yaml.safe_load((BUNDLED / "late_labels.yaml").read_text())
    samples = read_file(BUNDLED / "messages.csv", Reading("text", "label")).samples
    return split(samples, as_told(spec, Plan()), late, seed)


def split(samples: list[Sample], spec: RouteSpec, late: dict[str, str], seed: int) -> DemoData:
    """Shuffle the samples into the two pools; what is neither of the route nor late is left out."""
    shuffled = sorted(samples, key=lambda sample: sample.text)
    random.Random(seed).shuffle(shuffled)
    extraction = spec.task == "extraction"
    return DemoData(
        spec,
        late,
        shuffled if extraction else spread([s for s in shuffled if s.answer in spec.labels]),
        spread([s for s in shuffled if s.answer in late]),
    )


def spread(samples: list[Sample]) -> list[Sample]:
    """Order samples so that every stretch of traffic holds each label in its share of all."""
    by_label: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_label[sample.answer].append(sample)
    placed = [
        ((number + 0.5) / len(rows), place, row)
        for place, rows in enumerate(by_label.values())
        for number, row in enumerate(rows)
    ]
    # A pool is taken from its end.
    return [row for _, _, row in sorted(placed, key=lambda each: each[:2], reverse=True)]


def as_told(spec: RouteSpec, plan: Plan) -> RouteSpec:
    """Give a route the windows that the length of this demo allows, a risk that so few audited rows
    can prove, and a canary that waits until requests were given to it: one of a second sees none on
    a busy machine.
    """
    drift = {"reference": plan.reference, "window": plan.window, "tolerated_error": 0.25}
    return spec.model_copy(
        update={
            "drift": spec.drift.model_copy(update=drift),
            "canary": CanaryChoice(quiet="wait"),
            "targets": spec.targets.model_copy(update={"max_risk": MAX_RISK}),
        }
    )
