"""What a verdict means once it is checked against the route: one rule for API and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.answers import label_of, same_answer, trimmed
from schemas.base import JsonObject
from schemas.events import Verdict
from schemas.route import RouteSpec
from schemas.tool_calls import why_unusable
from shared.errors import Invalid

# Characters; with four bytes each, a verdict's answer still fits an event of 256 KiB.
MAX_ANSWER = 65_536


# Characters of a value that makes a slice: a country, a channel, an app's version. What is longer,
# or holds a line break, is text.
LONGEST_SLICE = 100


class UnknownLabel(Invalid):
    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__(f"that is no label of this route; choose one of: {', '.join(labels)}")


class ApprovedUnusable(Invalid):
    def __init__(self, flaw: str) -> None:
        super().__init__(
            f"the model's answer {flaw}, so it cannot be approved: correct or reject it"
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
    def __init__(self, flaw: str) -> None:
        super().__init__(
            f"this route's answers are JSON of a given form, and this text {flaw}; correct it and"
            " send it again"
        )


class UncallableAnswer(Invalid):
    def __init__(self, flaw: str) -> None:
        super().__init__(
            f"this text {flaw}; the tools that could be called stand beside the answer: correct it"
            " and send it again"
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
    verdict: Verdict,
    answer: str | None,
    model_answer: str,
    spec: RouteSpec,
    tools: Sequence[JsonObject] = (),
) -> CheckedVerdict:
    """Return the verdict that counts, with a label spelled as the route does; `tools` are what the
    model could call.

    Correcting to the model's own answer approves it. Raises CorrectionMissing, UnknownLabel,
    MalformedAnswer, ApprovedUnusable, AnswerTooLong, AnswerHasNul.
    """
    if verdict == "rejected":
        return CheckedVerdict("rejected", None)
    if verdict == "corrected":
        return _corrected(answer, model_answer, spec, tools)
    if flaw := why_unusable(model_answer, spec, tools):
        raise ApprovedUnusable(flaw)
    if len(model_answer) > MAX_ANSWER:
        raise AnswerTooLong
    return CheckedVerdict("approved", without_nul(as_spelled(model_answer, spec)))


def _corrected(
    answer: str | None, model_answer: str, spec: RouteSpec, tools: Sequence[JsonObject]
) -> CheckedVerdict:
    if answer is None or not answer.strip():
        raise CorrectionMissing
    if flaw := why_unusable(answer, spec, tools):
        if spec.task == "classification":
            raise UnknownLabel(spec.labels)
        raise UncallableAnswer(flaw) if tools else MalformedAnswer(flaw)
    right = as_spelled(answer, spec)
    return CheckedVerdict(
        "approved" if same_answer(right, model_answer, spec) else "corrected",
        without_nul(right),
    )


def without_nul(answer: str) -> str:
    """Return the answer. Raises AnswerHasNul: Postgres stores no such text, and SQLite would."""
    if "\0" in answer:
        raise AnswerHasNul
    return answer


def as_spelled(answer: str, spec: RouteSpec) -> str:
    """Return an answer as it is kept: a label as the route spells it."""
    label = label_of(answer, spec) if spec.task == "classification" else None
    return trimmed(answer, spec) if label is None else label


def slices_of(metadata: Mapping[str, str], spec: RouteSpec) -> dict[str, str]:
    """Return which of the route's slices an answer belongs to, as values by key."""
    told = {key: metadata.get(key, "").strip() for key in spec.slices}
    return {
        key: value
        for key, value in told.items()
        if value and len(value) <= LONGEST_SLICE and value.isprintable()
    }
