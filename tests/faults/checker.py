"""The promise, checked over everything: each accepted operation is one event, each event one effect
in each consumer.

Pure: evidence in, findings out. Each check is one function; test_checker.py plants what each must
find.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.topics import TOPICS, dead_letter_topic
from tests.faults.evidence import EventKey, Evidence, Sent, consumers_of
from tests.faults.history import Operation

Kind = Literal["lost", "doubled", "orphan", "pending", "disordered", "inconsistent"]
COMPACTED = {topic.name for topic in TOPICS if topic.compacted}
OF_OPERATION = {
    "inference": "inference-recorded",
    "chat": "inference-recorded",
    "feedback": "feedback-recorded",
    "verdict": "review-completed",
}


@dataclass(frozen=True)
class Finding:
    kind: Kind
    where: str
    what: str


@dataclass
class Verdict:
    """`numbers` say how much was checked: an empty world has no findings either."""

    findings: list[Finding] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        return not self.findings

    def count(self, kind: Kind) -> int:
        return sum(finding.kind == kind for finding in self.findings)

    def explain(self, most: int = 4) -> str:
        """The first few of each kind at each place."""
        places: dict[tuple[str, str], list[str]] = defaultdict(list)
        for finding in self.findings:
            places[finding.kind, finding.where].append(finding.what)
        shown = [
            f"  {kind} at {where}, {len(what)} times: {'; '.join(what[:most])}"
            for (kind, where), what in places.items()
        ]
        return "\n".join([f"numbers {dict(self.numbers)}", *shown])


Check = Callable[[Evidence, Counter[str]], Iterator[Finding]]


def check(evidence: Evidence, checks: Sequence[Check]) -> Verdict:
    verdict = Verdict()
    for one in checks:
        verdict.findings += one(evidence, verdict.numbers)
    return verdict


def operations_are_events(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """What was answered with success is in exactly one event; what was not answered in at most one;
    what was refused in none.
    """
    events = events_by_name(evidence)
    for operation in evidence.operations:
        numbers[f"operations {operation.outcome}"] += 1
        for topic, name in expected_events(operation):
            found = len(events.get((topic, name), ()))
            if found > 1:
                yield Finding(
                    "doubled", topic, f"{operation.kind} {operation.name} is in {found} events"
                )
            if found == 0 and operation.outcome == "ok":
                yield Finding(
                    "lost",
                    topic,
                    f"{operation.kind} {operation.name} was accepted as {operation.given} and is in"
                    " no event",
                )


def expected_events(operation: Operation) -> Iterator[EventKey]:
    if operation.kind in ("inference", "chat"):
        yield "inference-recorded", operation.name
    elif operation.kind == "verdict":
        yield "review-completed", operation.name
    elif operation.kind == "feedback" and operation.given:
        for judgement in operation.judgements:
            yield "feedback-recorded", f"{operation.given}.{judgement}"


def events_by_name(evidence: Evidence) -> dict[EventKey, list[Sent]]:
    found: dict[EventKey, list[Sent]] = defaultdict(list)
    for topic in ("inference-recorded", "review-completed", "feedback-recorded"):
        for row in evidence.sent(topic):
            found[topic, name_in(topic, row.body)].append(row)
    for event, rows in found.items():
        if event[0] == "review-completed":
            found[event] = without_inclusion(rows)
    return found


def without_inclusion(rows: list[Sent]) -> list[Sent]:
    """Return the verdict without the one event that says it again after a complaint."""
    first, *later = rows
    chance = first.body["probability"] < 1.0
    again = next((row for row in later if chance and row.body["probability"] == 1.0), None)
    return [row for row in rows if row is not again]


def name_in(topic: str, body: Any) -> str:
    if topic == "inference-recorded":
        return body["metadata"].get("case", "")
    return body["review_id" if topic == "review-completed" else "feedback_id"]


def events_have_a_cause(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """Nothing is published that nobody asked for."""
    asked = {event for operation in evidence.operations for event in expected_events(operation)}
    given = {
        operation.given
        for operation in evidence.operations
        if operation.kind == "feedback" and operation.given
    }
    unanswered = any(
        operation.kind == "feedback" and not operation.given for operation in evidence.operations
    )
    for (topic, name), rows in events_by_name(evidence).items():
        if topic == "feedback-recorded" and (name.rpartition(".")[0] in given or unanswered):
            continue
        if (topic, name) not in asked:
            yield Finding("orphan", topic, f"nobody asked for {name} ({rows[0].service})")


def events_are_published(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """Every row of an outbox is in the log, and everything in the log came out of an outbox."""
    logged = Counter((record.topic, record.event_id) for record in evidence.log)
    rows = Counter((row.topic, row.event_id) for rows in evidence.outboxes.values() for row in rows)
    for service, outbox in evidence.outboxes.items():
        for row in outbox:
            numbers["events"] += 1
            if not row.published:
                yield Finding(
                    "pending",
                    f"outbox of {service}",
                    f"{row.topic} {row.event_id} was not published",
                )
            elif (row.topic, row.event_id) not in logged and row.topic not in COMPACTED:
                yield Finding(
                    "lost",
                    row.topic,
                    f"{row.event_id} of {service} is marked as published and not in the log",
                )
    for topic, event_id in logged.keys() - rows.keys() - evidence.foreign:
        yield Finding("orphan", topic, f"{event_id} is in the log and in no outbox")
    numbers["records"] += sum(logged.values())
    numbers["records sent again"] += sum(logged.values()) - len(logged)


def rows_are_unique(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    for service, outbox in evidence.outboxes.items():
        for event, times in Counter((row.topic, row.event_id) for row in outbox).items():
            if times > 1:
                yield Finding(
                    "doubled",
                    f"outbox of {service}",
                    f"{event[0]} {event[1]} stands there {times} times",
                )


def effects_happen_once(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """Each event has in each consumer one effect, or one dead letter; of a compacted topic only the
    last state of a key must arrive.
    """
    letters = dead_letters(evidence)
    for event in [
        (row.topic, row.event_id) for rows in evidence.outboxes.values() for row in rows
    ] + sorted(evidence.foreign):
        for consumer in consumers_of(event[0]):
            effects = evidence.witnesses[consumer][event]
            dead = letters[consumer][event]
            numbers["effects"] += effects
            numbers["dead letters"] += dead
            if effects + dead > 1:
                yield Finding(
                    "doubled",
                    f"{consumer} of {event[0]}",
                    f"{event[1]} has {effects} effects and {dead} dead letters",
                )
            elif effects + dead == 0 and not is_superseded(evidence, event):
                yield Finding(
                    "lost",
                    f"{consumer} of {event[0]}",
                    f"{event[1]} has no effect and no dead letter",
                )


def dead_letters(evidence: Evidence) -> dict[str, Counter[EventKey]]:
    """A letter has the id of its event, and the inbox knows which topic that came from."""
    found: dict[str, Counter[EventKey]] = {}
    for service, outbox in evidence.outboxes.items():
        times = Counter(row.event_id for row in outbox if row.topic == dead_letter_topic(service))
        dead = [
            event
            for event, outcome in evidence.inboxes.get(service, {}).items()
            if outcome in ("dead-lettered", "dropped")
        ]
        found[service] = Counter({event: times[event[1]] for event in dead})
    return found


def is_superseded(evidence: Evidence, event: EventKey) -> bool:
    if event[0] not in COMPACTED:
        return False
    rows = sorted(evidence.sent(event[0]), key=lambda row: row.seq)
    key = next((row.key for row in rows if row.event_id == event[1]), None)
    return [row.event_id for row in rows if row.key == key][-1:] != [event[1]]


def effects_have_a_cause(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    known = {
        (row.topic, row.event_id) for rows in evidence.outboxes.values() for row in rows
    } | evidence.foreign
    for service, effects in evidence.witnesses.items():
        for topic, event_id in effects.keys() - known:
            yield Finding(
                "orphan", f"{service} of {topic}", f"an effect of {event_id}, which is in no outbox"
            )
        for topic, event_id in effects.keys() - evidence.inboxes.get(service, {}).keys():
            yield Finding(
                "inconsistent",
                f"{service} of {topic}",
                f"an effect of {event_id}, which its inbox does not know",
            )


def order_holds(evidence: Evidence, numbers: Counter[str]) -> Iterator[Finding]:
    """Within a key, the first occurrences in the log are in the order in which a service committed
    them.
    """
    first: dict[EventKey, int] = {}
    # in order within each partition, and a key has one partition
    for position, record in enumerate(evidence.log):
        first.setdefault((record.topic, record.event_id), position)
    for service, outbox in evidence.outboxes.items():
        last: dict[tuple[str, str | None], tuple[int, str]] = {}
        for row in sorted(outbox, key=lambda row: row.seq):
            place = first.get((row.topic, row.event_id))
            if place is None or row.topic.endswith("-dlq"):
                continue
            before = last.get((row.topic, row.key))
            if before and before[0] > place:
                yield Finding(
                    "disordered",
                    row.topic,
                    f"{row.event_id} of {service} came before {before[1]}, which was committed"
                    " sooner",
                )
            last[row.topic, row.key] = max(before or (place, row.event_id), (place, row.event_id))
            numbers["ordered"] += 1


CHECKS: tuple[Check, ...] = (
    operations_are_events,
    events_have_a_cause,
    events_are_published,
    rows_are_unique,
    effects_happen_once,
    effects_have_a_cause,
    order_holds,
)
