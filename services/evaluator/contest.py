"""A challenger for free text against what serves, while people are asked: when what they said is
enough (docs/methods.md, section 9). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from schemas.base import Arm, BlobRef, JsonObject, Value
from schemas.comparisons import Judgement
from schemas.evaluation import PairedTest
from schemas.events import AdapterEvaluated, AdapterTrained, RouteChanged
from schemas.route import RouteSpec
from services.evaluator.comparisons import (
    Estimate,
    Floats,
    Side,
    Tally,
    decide,
    estimate,
    tally_of,
    value_of,
)
from shared.rules import evidence_of_winning

Said = Mapping[str, tuple[Judgement, Side]]
"""Judgements by pair, each with the side that the challenger had."""


class Contest(Value):
    """An evaluation that waits for people; all that its end needs."""

    evaluation_id: str
    against: Arm
    # How many pairs there are, and what is known of those that nobody is asked about.
    pairs: int
    settled: Tally
    alpha: float
    trained: AdapterTrained
    # The event as it will be, but for what people say.
    draft: AdapterEvaluated
    # What the report shows.
    content: BlobRef
    # Seconds since the epoch.
    opened_at: float

    @property
    def route(self) -> str:
        return self.trained.route


class Ending(Value):
    """How a contest ended: in its job, so that what is said later changes nothing."""

    evaluation_id: str
    route: str
    verdict: Literal["promote", "reject"]
    why: str
    tally: Tally


def together(contest: Contest, said: Said) -> Tally:
    """Count what people said, and what needed nobody."""
    people, known = tally_of(list(said.values())), contest.settled
    return Tally(
        people.wins + known.wins,
        people.losses + known.losses,
        people.ties + known.ties,
        people.neither + known.neither,
    )


def corrected(people: Said, model: Said) -> Estimate | None:
    """Return what a judge model tells of all pairs, corrected by people."""
    both = [name for name in people if name in model]
    if not model or not both:
        return None

    def values(said: Said, names: Sequence[str]) -> Floats:
        return np.array([value_of(*said[name]) for name in names], dtype=float)

    rest = [name for name in model if name not in people]
    return estimate(values(people, both), values(model, both), values(model, rest))


def ending_of(contest: Contest, people: Said, model: Said) -> Ending | None:
    """Return how a contest ends by what was said of its pairs; None while more are asked for."""
    tally = together(contest, people)
    hope = corrected(people, model)
    decision = decide(tally, contest.alpha, contest.pairs, hope)
    if decision == "continue":
        return None
    if decision == "promote":
        return ended(contest, tally, "promoted: people find it better")
    if evidence_of_winning(tally.losses, tally.wins) >= 1 / contest.alpha:
        return ended(contest, tally, "rejected: people find it worse")
    if tally.judged >= contest.pairs:
        return ended(contest, tally, "rejected: all pairs are judged, and it is not proven better")
    return ended(contest, tally, "rejected: a judge model, corrected by people, leaves no hope")


def ended(contest: Contest, tally: Tally, why: str) -> Ending:
    verdict: Literal["promote", "reject"] = "promote" if why.startswith("promoted") else "reject"
    return Ending(
        evaluation_id=contest.evaluation_id,
        route=contest.route,
        verdict=verdict,
        why=why,
        tally=tally,
    )


def moot(contest: Contest, state: RouteChanged) -> str | None:
    """Return why a contest is about nothing any more: what serves, or how it is asked, is not what
    people compare with.
    """
    champion = state.champion.adapter_id if state.champion else None
    compared = next(arm.adapter_id for arm in contest.draft.arms if arm.arm == contest.against)
    if champion != compared:
        return "rejected: what serves the route changed while people were asked"
    if asked_how(state.spec) != asked_how(contest.trained.spec):
        return "rejected: the route changed while people were asked"
    return None


def asked_how(spec: RouteSpec) -> tuple[object, ...]:
    """Return what the answers of both arms follow from."""
    prompts = spec.system_prompt, spec.detailed_prompt, spec.system
    return (spec.task, spec.output_schema, spec.max_tokens, *prompts)


def concluded(contest: Contest, ending: Ending) -> AdapterEvaluated:
    """Return the event: the draft with what people said."""
    tally = ending.tally
    p = min(1.0, 1 / evidence_of_winning(tally.wins, tally.losses))
    test = PairedTest(
        against=contest.against,
        wins=tally.wins,
        losses=tally.losses,
        p_value=p,
        alpha=contest.alpha,
        passed=ending.verdict == "promote",
        ties=tally.ties,
        neither=tally.neither,
    )
    words = (
        f"against {contest.against}: of {tally.judged} of {contest.pairs} pairs {tally.wins} won,"
        f" {tally.losses} lost, {tally.ties} as good, {tally.neither} both of no use; p = {p:.2g},"
        f" at most {contest.alpha:.2g} passes"
    )
    known = contest.settled
    if known.judged:
        words += (
            f"; nobody was asked about {known.ties} that are equal and"
            f" {known.losses + known.neither} that break the form"
        )
    return contest.draft.model_copy(
        update={
            "verdict": ending.verdict,
            "reasons": (ending.why, words, *contest.draft.reasons),
            "tests": (test,),
        }
    )


def shown(contest: Contest, said: Said, waits: str | None) -> JsonObject:
    """Return what people see of a contest that is open."""
    tally = together(contest, said)
    return {
        "evaluation_id": contest.evaluation_id,
        "route": contest.route,
        "adapter_id": contest.trained.adapter.adapter_id,
        "against": contest.against,
        "pairs": contest.pairs,
        "judged": tally.judged,
        "alpha": contest.alpha,
        "opened_at": contest.opened_at,
        "waits": waits,
    }


def reported(
    content: JsonObject,
    event: AdapterEvaluated,
    said: Mapping[str, tuple[Judgement, Side] | None],
) -> JsonObject:
    """Return what the report shows: what was kept of the arms, with what people said by row."""
    values = {row: value_of(*one) for row, one in said.items() if one}
    words = {1: "better", 0: "no better", -1: "worse"}
    rows = [
        row | {"people": words[values[row["row_id"]]] if row["row_id"] in values else ""}
        for row in content["rows"]
    ]
    return content | {
        "rows": rows,
        "promote": event.verdict == "promote",
        "reasons": list(event.reasons),
        "tests": [test.model_dump() for test in event.tests],
    }
