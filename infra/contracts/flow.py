"""Draws docs/flow.md from schemas/topics.py and the docstrings of the events."""

from __future__ import annotations

import inspect
from pathlib import Path

from schemas.base import Event
from schemas.topics import SERVICES, TOPICS, Topic, dead_letter_topic

HEAD = """# The flow

Six services meet on these topics and nowhere else. This page is generated from `schemas/topics.py`
and the docstrings in `schemas/events.py` by `python -m infra.contracts flow`; a test compares
the map with the subscribers and publishers of each service.
"""
TAIL = """
Every topic is keyed by the field named above, so order holds within one key. The topic of
a service's dead letters is `<service>-dlq` ({letters}): bytes, key and headers unchanged, with
`x-origin-topic`, `x-origin-partition`, `x-origin-offset`, `x-attempts`, `x-error-type` and
`x-error` added. Headers of events are those of CloudEvents 1.0 in binary mode; bodies are JSON,
described by the [schemas](../schemas/json) and the [examples](../schemas/examples).
"""


def write_flow(path: Path) -> list[Path]:
    content = flow()
    if path.exists() and path.read_text("utf-8") == content:
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return [path]


def flow() -> str:
    return "\n".join(
        [
            HEAD,
            graph(),
            "",
            table(),
            TAIL.format(
                letters=", ".join(f"`{dead_letter_topic(service)}`" for service in SERVICES)
            ),
        ]
    )


def graph() -> str:
    """Draw one arrow for each pair of services, and once what everyone hears."""
    lines = [
        "```mermaid",
        "flowchart LR",
        "    apps([apps]) -->|questions| router",
        "    apps -->|inferences of other models, feedback| capture",
        "    reviewers([reviewers]) -->|verdicts| review",
    ]
    for (producer, consumer), names in edges().items():
        lines.append(f"    {node(producer)} -->|{'<br/>'.join(names)}| {node(consumer)}")
    lines += [
        f"    {node(topic.producers[0])} -.->|{topic.name}| all([all the others])"
        for topic in TOPICS
        if broadcast(topic)
    ]
    return "\n".join([*lines, "```"])


def edges() -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for topic in TOPICS:
        for producer in topic.producers:
            for consumer in () if broadcast(topic) else topic.consumers:
                found.setdefault((producer, consumer), []).append(topic.name)
    return found


def broadcast(topic: Topic) -> bool:
    return len(topic.consumers) == len(SERVICES) - 1


def table() -> str:
    rows = ["| topic | says | from | to | key | partitions |", "|---|---|---|---|---|---|"]
    for topic in TOPICS:
        kept = f"{topic.partitions}, compacted" if topic.compacted else str(topic.partitions)
        consumers = ", ".join(topic.consumers) or "people who watch"
        schema = f"[`{topic.name}`](../schemas/json/{topic.event.schema_name()}.json)"
        rows.append(
            f"| {schema} | {fact(topic.event)} | {', '.join(topic.producers)} | {consumers} |"
            f" `{topic.key}` | {kept} |"
        )
    return "\n".join(rows)


def fact(event: type[Event]) -> str:
    """Return the first paragraph of the docstring, on one line."""
    return " ".join((inspect.getdoc(event) or "").split("\n\n")[0].split())


def node(service: str) -> str:
    return f"{service.replace('-', '_')}[{service}]"
