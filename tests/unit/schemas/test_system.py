"""What becomes of the app's system message, in training and in serving alike."""

from __future__ import annotations

import pytest

from schemas.base import Message
from tests import factories

OURS, BASE = "Classify.", "Choose one of: delivery, refund, password."
APP = Message(role="system", content="The customer has the plan: premium.")
MORE = Message(role="system", content="Today is a holiday.")
BLANK = Message(role="system", content=" \n")
ASKED = Message(role="user", content="Can I get a refund?")


@pytest.mark.parametrize(
    ("system", "sent", "said"),
    [
        ("replace", (APP,), "{}"),
        ("append", (), "{}"),
        ("append", (APP,), "{}\n\nThe customer has the plan: premium."),
        ("append", (APP, MORE), "{}\n\nThe customer has the plan: premium.\n\nToday is a holiday."),
        ("append", (BLANK,), "{}"),
        ("app", (), "{}"),
        ("app", (BLANK,), "{}"),
        ("app", (APP,), "The customer has the plan: premium."),
        ("app", (APP, MORE), "The customer has the plan: premium.\n\nToday is a holiday."),
    ],
)
def test_one_system_message_stands_first(system: str, sent: tuple, said: str) -> None:
    spec = factories.spec(system=system, system_prompt=OURS)
    for prompt, messages in (
        (OURS, spec.tuned_messages((*sent, ASKED))),
        (BASE, spec.detailed_messages((*sent, ASKED))),
    ):
        assert messages == (Message(role="system", content=said.format(prompt)), ASKED)


def test_one_that_comes_late_is_moved_to_the_front() -> None:
    later = (ASKED, Message(role="assistant", content="Yes."), APP, ASKED)
    served = factories.spec(system="append", system_prompt=OURS).tuned_messages(later)
    assert [message.role for message in served] == ["system", "user", "assistant", "user"]


def test_a_route_from_before_there_was_a_choice_replaces() -> None:
    stored = factories.spec().model_dump(mode="json")
    del stored["system"]
    assert type(factories.spec()).model_validate(stored).system == "replace"
