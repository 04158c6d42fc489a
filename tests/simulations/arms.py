"""Arms that answer rows of known difficulty, as the evaluator gets them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.base import Arm, Confidence, Message
from schemas.route import RouteSpec, Targets
from services.evaluator.gates import Outcomes
from services.evaluator.heldout import ArmAnswers, Contender, HeldOutRow, MarkedReply
from shared.rules import Completion
from tests import factories

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ASKED = (Message(role="user", content="?"),)
MAX_RISK = 0.10
STRICT = factories.spec(guarantee="strict", targets=Targets(max_risk=MAX_RISK))


def difficulty(n: int, accuracy: float, rng: np.random.Generator) -> Floats:
    """Return P(right) of each row; rows differ, so that arms err on the same ones."""
    return rng.beta(3 * accuracy, 3 * (1 - accuracy), n)


def better(p: Floats, gain: float) -> Floats:
    """Return P(right) of an arm that is better by `gain` on average, most where there is room."""
    room = max(float((1 - p).mean() if gain > 0 else p.mean()), abs(gain))
    moved: Floats = p + gain / room * ((1 - p) if gain > 0 else p)
    return moved


def outcomes(arm: Arm, correct: Bools) -> Outcomes:
    flags = correct.tolist()
    return Outcomes(arm, flags, [True] * len(flags))


def rows_of(splits: Sequence[str], spec: RouteSpec = STRICT) -> list[HeldOutRow]:
    return [HeldOutRow(str(i), split, ASKED, spec.labels[0]) for i, split in enumerate(splits)]


def answers(adapter_id: str | None, arm: Arm, score: Floats, correct: Bools) -> ArmAnswers:
    """Return what an arm said, as it is marked."""
    return ArmAnswers(
        Contender(arm, adapter_id),
        tuple(
            MarkedReply(
                Completion(
                    "",
                    Confidence(score=value, min_logprob=0.0, first_margin=0.0, tokens=1),
                    0.0,
                    1.0,
                ),
                "",
                is_right,
                formatted=True,
            )
            for value, is_right in zip(score.tolist(), correct.tolist(), strict=True)
        ),
    )
