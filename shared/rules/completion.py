"""How vLLM is asked: alike in serving and in evaluation, else no calibration would hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.base import JsonObject, Message
from shared.rules.control_tokens import as_text
from shared.rules.tools import Tools

# Alternatives a token, from which the margin of the first one is read.
TOP_LOGPROBS = 5


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn that are to differ from each other."""

    # How many.
    n: int
    temperature: float = 1.0
    top_p: float | None = None
    seed: int | None = None

    def request(self) -> JsonObject:
        wanted = {"top_p": self.top_p, "seed": self.seed}
        given = {name: value for name, value in wanted.items() if value is not None}
        return {"n": self.n, "temperature": self.temperature} | given


@dataclass(frozen=True)
class Bounds:
    """What an answer must keep to beyond its length; nothing by default."""

    # The only answers there are.
    choices: tuple[str, ...] = ()
    # The answer is a JSON object, of this schema where it is not empty.
    json_schema: JsonObject | None = None
    # Texts that end the answer, and are no part of it.
    stop: tuple[str, ...] = ()
    # What may be called. Where something must be, `json_schema` holds the answer to it.
    tools: Tools | None = None
    # None: one answer, the most probable one.
    sampling: Sampling | None = None
    # The answer should be JSON, although nothing holds it to that.
    hopes_for_json: bool = False
    # What the chat template is told beside the messages: the route's, whatever an app wants.
    template_arguments: tuple[tuple[str, object], ...] = ()

    @property
    def is_json(self) -> bool:
        """Say whether confidence is read from the values alone."""
        return self.hopes_for_json or self.json_schema is not None

    @property
    def is_text(self) -> bool:
        """Say whether an answer is text of any length, and neither a label nor JSON."""
        return not self.choices and not self.is_json


FREE = Bounds()


def completion_request(
    model: str, messages: Sequence[Message], max_tokens: int, bounds: Bounds = FREE
) -> JsonObject:
    """Return the body of a chat completion at temperature 0, with logprobs.

    Choices and schemas constrain the decoding. The logprobs are then those of the constrained
    distribution, so that the sums of all choices add up to a probability of 1 (docs/methods.md,
    section 1).
    """
    body: JsonObject = {
        "model": model,
        "messages": [as_turn(message) for message in messages],
        "max_tokens": max_tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }
    if bounds.choices:
        body["structured_outputs"] = {"choice": list(bounds.choices)}
    elif bounds.json_schema is not None:
        body["structured_outputs"] = (
            {"json": bounds.json_schema} if bounds.json_schema else {"json_object": True}
        )
    if bounds.template_arguments:
        body["chat_template_kwargs"] = dict(bounds.template_arguments)
    if bounds.stop:
        body["stop"] = list(bounds.stop)
    if bounds.tools:
        body |= bounds.tools.request()
    if bounds.sampling:
        body |= bounds.sampling.request()
    return body


def as_turn(message: Message) -> JsonObject:
    """Return a message as chat templates take it, its words as text (control_tokens.py); vLLM reads
    arguments, and trainers must, too.
    """
    turn: JsonObject = {"role": message.role, "content": as_text(message.content)}
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": as_text(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    if message.name:
        turn["name"] = as_text(message.name)
    return turn
