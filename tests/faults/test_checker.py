"""The checker itself: a sound world has no findings, and each thing that can go wrong is planted
once and must be found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import factories
from tests.faults.checker import Kind, without_inclusion
from tests.faults.domain import check_everything
from tests.faults.evidence import Evidence, Recorded, Sent, consumers_of
from tests.faults.history import Operation

Plant = Callable[[Evidence], None]


def sound() -> Evidence:
    """One inference captured and reviewed, one chat, one feedback, one dataset trained and
    evaluated, one route.
    """
    captured = factories.inference(inference_id="inf_1", metadata={"case": "inf-1"})
    chat = factories.inference(metadata={"case": "chat-1"})
    feedback = factories.feedback(feedback_id="fb_1.rating", inference_id="inf_1")
    reviewed = factories.review(review_id="item-1", inference_id="inf_1")
    dataset = factories.dataset(dataset_id="d@1")
    trained = factories.trained(job_id="job-1")
    evaluated = factories.evaluated(evaluation_id="job-2")
    changed = factories.route_changed()
    by_service = {
        "capture": [captured, feedback],
        "router": [changed, chat],
        "review": [reviewed],
        "dataset-builder": [dataset],
        "trainer": [trained],
        "evaluator": [evaluated],
    }
    evidence = Evidence(
        operations=[
            Operation("inference", "inf-1", "ok", "inf_1"),
            Operation("chat", "chat-1", "ok", chat.inference_id),
            Operation("chat", "chat-0"),
            Operation("feedback", "fb-1", "ok", "fb_1", ("rating",)),
            Operation("verdict", "item-1", "ok", "item-1"),
            Operation("inference", "inf-2", "failed"),
        ]
    )
    for service, events in by_service.items():
        rows = [
            Sent(
                service,
                seq,
                event.event_id,
                event.topic_name(),
                event.route,
                event.model_dump(mode="json"),
                published=True,
            )
            for seq, event in enumerate(events)
        ]
        evidence.outboxes[service] = rows
        evidence.log += [
            Recorded(row.topic, 0, len(evidence.log), row.key, row.event_id) for row in rows
        ]
    digest(evidence)
    evidence.tables = tables(
        captured.inference_id,
        chat.inference_id,
        dataset.event_id,
        trained.event_id,
        changed.model_dump_json(),
    )
    return evidence


def digest(evidence: Evidence) -> None:
    evidence.inboxes = {service: {} for service in evidence.outboxes}
    evidence.witnesses = {service: Counter() for service in evidence.outboxes}
    for row in [row for rows in evidence.outboxes.values() for row in rows]:
        for consumer in consumers_of(row.topic):
            evidence.inboxes[consumer][row.topic, row.event_id] = "handled"
            evidence.witnesses[consumer][row.topic, row.event_id] = 1


def tables(captured: str, chat: str, dataset_event: str, trained_event: str, state: str) -> dict:
    routes = [{"route": factories.ROUTE, "version": 1}]
    job = {"state": "finished", "error": None}
    item = {"second_of": None}
    return {
        "capture": {"ledger": []},
        "review": {
            "items": [
                item | {"item_id": "item-1", "inference_id": captured, "state": "done"},
                item | {"item_id": "item-2", "inference_id": chat, "state": "set_aside"},
                {
                    "item_id": "item-3",
                    "inference_id": "second:item-1",
                    "second_of": "item-1",
                    "state": "open",
                },
            ]
        },
        "dataset-builder": {
            "verdicts": [{"review_id": "item-1"}],
            "feedback": [{"feedback_id": "fb_1.rating"}],
            "datasets": [{"dataset_id": "d@1"}],
            "jobs": [],
            "routes": routes,
        },
        "trainer": {
            "jobs": [job | {"job_id": "job-1", "key": dataset_event}],
            "adapters": [],
            "routes": routes,
        },
        "evaluator": {
            "jobs": [job | {"job_id": "job-2", "key": trained_event}],
            "evaluations": [],
            "reviews": [{"review_id": "item-1"}],
            "feedback": [{"feedback_id": "fb_1.rating"}],
            "routes": routes,
        },
        "router": {
            "route_history": [{"route": factories.ROUTE, "version": 1, "state": state}],
            "outcomes": [],
        },
    }


def event_of(evidence: Evidence, service: str) -> tuple[str, str]:
    row = evidence.outboxes[service][0]
    return row.topic, row.event_id


def forget_event(evidence: Evidence) -> None:
    evidence.outboxes["capture"] = evidence.outboxes["capture"][1:]


def forget_effect(evidence: Evidence) -> None:
    del evidence.witnesses["evaluator"][event_of(evidence, "capture")]


def forget_route(evidence: Evidence) -> None:
    del evidence.witnesses["trainer"][event_of(evidence, "router")]


def repeat_effect(evidence: Evidence) -> None:
    evidence.witnesses["review"][event_of(evidence, "capture")] += 1


def dead_letter_what_had_an_effect(evidence: Evidence) -> None:
    topic, event_id = event_of(evidence, "capture")
    evidence.inboxes["review"][topic, event_id] = "dead-lettered"
    evidence.outboxes["review"].append(
        Sent("review", 9, event_id, "review-dlq", None, {}, published=True)
    )


def accept_twice(evidence: Evidence) -> None:
    event = factories.inference(metadata={"case": "inf-1"})
    evidence.outboxes["capture"].append(
        Sent(
            "capture",
            9,
            event.event_id,
            event.topic_name(),
            event.route,
            event.model_dump(mode="json"),
            published=True,
        )
    )


def publish_what_was_refused(evidence: Evidence) -> None:
    event = factories.inference(metadata={"case": "nobody"})
    evidence.outboxes["capture"].append(
        Sent(
            "capture",
            9,
            event.event_id,
            event.topic_name(),
            event.route,
            event.model_dump(mode="json"),
            published=True,
        )
    )


def store_twice(evidence: Evidence) -> None:
    evidence.outboxes["capture"].append(replace(evidence.outboxes["capture"][0], seq=9))


def leave_unpublished(evidence: Evidence) -> None:
    evidence.outboxes["review"][0] = replace(evidence.outboxes["review"][0], published=False)


def lose_from_the_log(evidence: Evidence) -> None:
    evidence.log = [record for record in evidence.log if record.topic != "review-completed"]


def stray_record(evidence: Evidence) -> None:
    evidence.log.append(Recorded("review-completed", 0, 99, None, "nobody's"))


def stray_effect(evidence: Evidence) -> None:
    evidence.witnesses["router"]["review-completed", "nobody's"] += 1


def swap_order(evidence: Evidence) -> None:
    event = factories.inference(metadata={"case": "chat-0"})
    later = Sent(
        "router",
        9,
        event.event_id,
        event.topic_name(),
        factories.ROUTE,
        event.model_dump(mode="json"),
        published=True,
    )
    evidence.outboxes["router"].append(later)
    evidence.log.insert(0, Recorded(later.topic, 0, -1, later.key, later.event_id))


def train_twice(evidence: Evidence) -> None:
    event = factories.trained(job_id="job-1")
    evidence.outboxes["trainer"].append(
        Sent(
            "trainer",
            9,
            event.event_id,
            event.topic_name(),
            event.route,
            event.model_dump(mode="json"),
            published=True,
        )
    )


def stuck_job(evidence: Evidence) -> None:
    evidence.tables["trainer"]["jobs"][0]["state"] = "running"


def lose_item(evidence: Evidence) -> None:
    del evidence.tables["review"]["items"][0]


def lose_verdict(evidence: Evidence) -> None:
    evidence.tables["dataset-builder"]["verdicts"].clear()


def skip_version(evidence: Evidence) -> None:
    evidence.tables["router"]["route_history"][0]["version"] = 2


def stay_behind(evidence: Evidence) -> None:
    evidence.tables["trainer"]["routes"] = [{"route": factories.ROUTE, "version": 0}]


PLANTED: dict[Plant, Kind] = {
    forget_event: "lost",
    forget_effect: "lost",
    forget_route: "lost",
    repeat_effect: "doubled",
    dead_letter_what_had_an_effect: "doubled",
    accept_twice: "doubled",
    publish_what_was_refused: "orphan",
    store_twice: "doubled",
    leave_unpublished: "pending",
    lose_from_the_log: "lost",
    stray_record: "orphan",
    stray_effect: "orphan",
    swap_order: "disordered",
    train_twice: "doubled",
    stuck_job: "pending",
    lose_item: "lost",
    lose_verdict: "lost",
    skip_version: "inconsistent",
    stay_behind: "lost",
}


def test_a_sound_world_has_no_findings() -> None:
    verdict = check_everything(sound())
    assert verdict.holds, verdict.explain()
    assert verdict.numbers["effects"] == 19


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Plant) -> None:
    evidence = sound()
    plant(evidence)
    verdict = check_everything(evidence)
    assert verdict.count(PLANTED[plant]) >= 1, verdict.explain()


def test_of_a_compacted_topic_only_the_last_state_must_arrive() -> None:
    evidence = sound()
    forget_route(evidence)
    newer = factories.route_changed(version=2)
    evidence.outboxes["router"].append(
        Sent(
            "router",
            9,
            newer.event_id,
            newer.topic_name(),
            newer.route,
            newer.model_dump(mode="json"),
            published=True,
        )
    )
    for consumer in consumers_of("route-changed"):
        evidence.witnesses[consumer][newer.topic_name(), newer.event_id] = 1
        evidence.inboxes[consumer][newer.topic_name(), newer.event_id] = "handled"
    lost = [
        finding
        for finding in check_everything(evidence).findings
        if finding.where == "trainer of route-changed"
    ]
    assert not lost


def test_a_verdict_is_said_again_after_a_complaint_once() -> None:
    """Twice is one too many, and so is one that says nothing new."""
    first = factories.review(review_id="item-1", probability=0.5)
    sure = first.model_copy(update={"probability": 1.0})
    said = [
        Sent("review", n, f"event-{n}", "review-completed", None, body, published=True)
        for n, body in enumerate(event.model_dump(mode="json") for event in (first, sure, sure))
    ]
    assert without_inclusion(said[:1]) == without_inclusion(said[:2]) == said[:1]
    assert without_inclusion(said) == [said[0], said[2]]
    assert without_inclusion(said[1:]) == said[1:]
