"""Names of services and topics, as operators write them."""

from __future__ import annotations

from schemas.topics import SERVICES, TOPICS, Topic
from shared.errors import Invalid


class ServiceUnknown(Invalid):
    def __init__(self, service: str) -> None:
        super().__init__(f"there is no service '{service}': choose from {', '.join(SERVICES)}")


class TopicUnknown(Invalid):
    def __init__(self, topic: str) -> None:
        super().__init__(
            f"no event travels on '{topic}': choose from"
            f" {', '.join(topic.name for topic in TOPICS)}"
        )


def check_service(service: str) -> None:
    if service not in SERVICES:
        raise ServiceUnknown(service)


def find_topic(name: str) -> Topic:
    for topic in TOPICS:
        if topic.name == name:
            return topic
    raise TopicUnknown(name)
