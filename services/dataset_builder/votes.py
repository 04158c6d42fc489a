"""What is right where the same question was answered differently.

The same question is the same conversation but for case, blanks and the width of characters: one
deciding word makes it another, however alike the rest. Texts that are alike are no contradiction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

from schemas.answers import is_free_text
from schemas.route import RouteSpec
from services.dataset_builder.rows import Candidate, Lost

Item = TypeVar("Item")

# Share of the verdicts that settles a contradiction.
MAJORITY = 2 / 3
# Only the newest count: after a change of policy nine agreed verdicts outvote any number of old
# ones, and a lone slip of a reviewer never does.
NEWEST = 9
AMBIGUOUS = "ambiguous"
CONTRADICTED = "contradicted"
HANGS_ON_SYSTEM = "hangs_on_system_turn"


def agreed(candidates: Sequence[Candidate], spec: RouteSpec) -> tuple[list[Candidate], list[Lost]]:
    """Return the candidates that say what their question's verdicts agree on, and the others.

    Two good answers in free text contradict nothing.
    """
    if is_free_text(spec):
        return list(candidates), []
    kept: set[int] = set()
    lost: dict[int, Lost] = {}
    for group in grouped(enumerate(candidates), lambda one: one[1].question.key).values():
        places, same = zip(*group, strict=True)
        for place, loss in zip(places, judged(same), strict=True):
            if loss is None:
                kept.add(place)
            else:
                lost[place] = loss
    return (
        [one for place, one in enumerate(candidates) if place in kept],
        [lost[place] for place in sorted(lost)],
    )


def judged(same: Sequence[Candidate]) -> Iterator[Lost | None]:
    """Yield, for each verdict on one question, the loss; None where it is kept. Oldest first."""
    if len({one.form for one in same}) == 1:
        yield from (None for _ in same)
        return
    if hangs_on_system(same):
        yield from (Lost(one.row, HANGS_ON_SYSTEM, other_than(one, same)) for one in same)
        return
    answer = verdict_of(same)
    winner = next((one.row.review_id for one in reversed(same) if one.form == answer), None)
    for one in same:
        if answer is None:
            yield Lost(one.row, AMBIGUOUS, other_than(one, same))
        else:
            yield None if one.form == answer else Lost(one.row, CONTRADICTED, winner)


def hangs_on_system(same: Sequence[Candidate]) -> bool:
    """Say whether each of the app's system turns has an answer of its own.

    The route serves its own system turn in their place, so no adapter could tell them apart. Where
    nearly every verdict has a turn of its own (it holds the time, or a name) a majority decides.
    """
    by_system = grouped(same, lambda one: one.question.unserved)
    answers = [verdict_of(group) for group in by_system.values()]
    repeat = len(by_system) <= MAJORITY * len(same) or verdict_of(same) is None
    return len(by_system) > 1 and None not in answers and len(set(answers)) > 1 and repeat


def verdict_of(same: Sequence[Candidate]) -> str | None:
    """Return the answer of two thirds of the newest verdicts under the newest guideline; else the
    newest, when it corrects what reviewers before it had only approved; else None.
    """
    counted = heard(same)
    (form, votes), *others = Counter(one.form for one in counted).most_common()
    if not others or votes >= MAJORITY * len(counted):
        return form
    newest = counted[-1]
    overruled = [one for one in counted if one.form != newest.form]
    if newest.row.label_source == "corrected" and all(
        one.row.label_source == "approved" for one in overruled
    ):
        return newest.form
    return None


def heard(same: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return the verdicts on a question that have a vote, oldest first."""
    return [one for one in same if one.row.guideline == same[-1].row.guideline][-NEWEST:]


def other_than(one: Candidate, same: Sequence[Candidate]) -> str | None:
    """Return the newest review that said something else."""
    return next((each.row.review_id for each in reversed(same) if each.form != one.form), None)


def grouped(items: Iterable[Item], by: Callable[[Item], Hashable]) -> dict[Hashable, list[Item]]:
    groups: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        groups[by(item)].append(item)
    return groups
