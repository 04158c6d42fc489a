"""Which labels of a file the story uses, and which of them come late."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from infra.data.losses import DataUnusable
from infra.demo.plan import (
    LEAST_LABELS_OF_ACT_TWO,
    LEAST_PER_LABEL,
    LEAST_ROWS,
    Plan,
    plan_act_one,
    plan_both_acts,
)

# Of the labels that are used.
LATE_LABELS = 0.3
NAMES_SHOWN = 8


@dataclass(frozen=True)
class Division:
    """The labels that are used, with their rows, and how they are told."""

    everyday: Counter[str]
    late: Counter[str]
    plan: Plan
    notes: list[str]


def divide(counts: Counter[str], late_labels: list[str], most: int) -> Division:
    """Choose the labels, and which of them come late."""
    if unknown := sorted(set(late_labels) - set(counts)):
        raise DataUnusable(
            f"--late-labels names {named(unknown)}, which the file does not hold; it holds:"
            f" {named(sorted(counts))}"
        )
    enough = [label for label, rows in ranked(counts) if rows >= LEAST_PER_LABEL]
    rare = [label for label in counts if counts[label] < LEAST_PER_LABEL]
    if scarce := sorted(set(late_labels) & set(rare)):
        raise DataUnusable(
            f"--late-labels names {named(scarce)} with fewer than {LEAST_PER_LABEL} messages: add"
            " rows, or name others"
        )
    used = (late_labels + [label for label in enough if label not in late_labels])[:most]
    if len(used) < 2:
        raise DataUnusable(
            f"two labels with at least {LEAST_PER_LABEL} messages each are needed; the file has"
            f" {len(enough)} ({named(enough) or 'none'}): add messages of other labels"
        )
    chosen = Counter({label: counts[label] for label in used})
    notes = left_out(counts, used, rare)
    if chosen.total() < LEAST_ROWS:
        raise DataUnusable(
            f"the story needs {LEAST_ROWS} messages, and the {len(used)} labels that it uses have"
            f" {chosen.total()}: add rows, or use more labels with --labels"
        )
    late, why = late_ones(chosen, late_labels)
    everyday = Counter({label: rows for label, rows in chosen.items() if label not in late})
    plan = None if why else plan_both_acts(everyday, Counter({each: chosen[each] for each in late}))
    if plan is None:
        why = why or (
            f"act 2 would take more rows than there are: {len(late)} late labels have"
            f" {sum(chosen[each] for each in late)} messages, {len(everyday)} others"
            f" {everyday.total()}"
        )
        if late_labels:
            raise DataUnusable(
                f"--late-labels cannot be told: {why}; leave it out for act 1 alone, or add rows"
            )
        plan = plan_act_one(chosen.total(), chosen, why)
        late, everyday = [], chosen
    return Division(
        everyday, Counter({each: chosen[each] for each in late}), plan, [*notes, *plan.words()]
    )


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def late_ones(chosen: Counter[str], named_late: list[str]) -> tuple[list[str], str | None]:
    """Return the labels that come late: those that were named, or the rarest third; or why there
    are none.
    """
    labels = [label for label, _ in ranked(chosen)]
    if len(labels) < LEAST_LABELS_OF_ACT_TWO:
        return [], f"of {len(labels)} labels none can come later, a route needs two to begin with"
    if named_late:
        if len(labels) - len(named_late) < 2:
            return [], "a route needs two labels to begin with"
        return named_late, None
    return labels[-max(1, round(len(labels) * LATE_LABELS)) :], None


def left_out(counts: Counter[str], used: list[str], rare: list[str]) -> list[str]:
    notes = []
    beyond = [label for label in counts if label not in used and label not in rare]
    if beyond:
        rows = sum(counts[label] for label in beyond)
        notes.append(
            f"{len(used)} labels are used; {len(beyond)} more with {rows} messages are left out"
            f" (--labels {len(used) + len(beyond)} would use them)"
        )
    if rare:
        rows = sum(counts[label] for label in rare)
        notes.append(
            f"{len(rare)} labels have fewer than {LEAST_PER_LABEL} messages and are left out"
            f" ({rows} messages): {named(sorted(rare))}"
        )
    return notes


def named(labels: list[str]) -> str:
    shown = ", ".join(labels[:NAMES_SHOWN])
    return shown + (f" and {len(labels) - NAMES_SHOWN} more" if len(labels) > NAMES_SHOWN else "")
