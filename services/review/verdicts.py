"""What a verdict means once it is checked against the route: one rule for API and pages."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.answers import normalise, well_formed
from schemas.events import Verdict
from schemas.route import RouteSpec
from shared.errors import Invalid

# Characters; with four bytes each, a verdict's answer still fits an event of 256 KiB.
MAX_ANSWER = 65_536


class UnknownLabel(Invalid):
    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__(f"that is no label of this route; choose one of: {', '.join(labels)}")


class ApprovedUnusable(Invalid):
    def __init__(self, needed: str) -> None:
        super().__init__(
            f"the model's answer is not {needed}, so it cannot be approved: correct or reject it"
        )


class AnswerTooLong(Invalid):
    def __init__(self) -> None:
        super().__init__(
            f"the model's answer has more than {MAX_ANSWER} characters, so that no verdict can hold"
            " it: correct or reject it"
        )


class CorrectionMissing(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "a correction needs the right answer: send it as 'answer', or reject the item as"
            " unusable"
        )


class MalformedAnswer(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "this route's answers are JSON and this text does not parse; correct it and send it"
            " again"
        )


class AnswerHasNul(Invalid):
    def __init__(self) -> None:
        super().__init__(
            "the answer holds the character U+0000, which cannot be stored; correct it without"
        )


@dataclass(frozen=True)
class CheckedVerdict:
    verdict: Verdict
    answer: str | None


def check_verdict(
    verdict: Verdict, answer: str | None, model_answer: str, spec: RouteSpec
) -> CheckedVerdict:
    """Return the verdict that counts, with a label spelled as the route does.

    Correcting to the model's own answer approves it. Raises CorrectionMissing, UnknownLabel,
    MalformedAnswer, ApprovedUnusable, AnswerTooLong, AnswerHasNul.
    """
    if verdict == "rejected":
        return CheckedVerdict("rejected", None)
    if verdict == "corrected":
        return _corrected(answer, model_answer, spec)
    if not well_formed(model_answer, spec):
        raise ApprovedUnusable(_form(spec))
    if len(model_answer) > MAX_ANSWER:
        raise AnswerTooLong
    return CheckedVerdict("approved", without_nul(as_spelled(model_answer, spec)))


def _corrected(answer: str | None, model_answer: str, spec: RouteSpec) -> CheckedVerdict:
    if answer is None or not answer.strip():
        raise CorrectionMissing
    if not well_formed(answer, spec):
        raise UnknownLabel(spec.labels) if spec.task == "classification" else MalformedAnswer
    right = as_spelled(answer, spec)
    return CheckedVerdict(
        "approved" if normalise(right, spec) == normalise(model_answer, spec) else "corrected",
        without_nul(right),
    )


def without_nul(answer: str) -> str:
    """Return the answer. Raises AnswerHasNul: Postgres stores no such text, and SQLite would."""
    if "\0" in answer:
        raise AnswerHasNul
    return answer


def as_spelled(answer: str, spec: RouteSpec) -> str:
    if spec.task != "classification":
        return answer.strip()
    return next(label for label in spec.labels if normalise(label, spec) == normalise(answer, spec))


def _form(spec: RouteSpec) -> str:
    return "one of this route's labels" if spec.task == "classification" else "well-formed"
