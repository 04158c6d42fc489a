"""What the engine answered, as every service reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from schemas.base import Confidence, JsonObject
from schemas.tool_calls import written
from shared.rules.completion import FREE, Bounds
from shared.rules.confidence import read_answer
from shared.rules.control_tokens import as_said
from shared.rules.reasoning import thought_apart

# Of calls the engine has taken out of the text: names and values tell how sure the model was.
CALLS = Bounds(hopes_for_json=True)


@dataclass(frozen=True)
class Completion:
    """One answer as the engine gave it: the most probable one, unless the app drew several."""

    answer: str
    confidence: Confidence
    # Natural logarithm: the sum over the tokens that spell the answer.
    logprob: float
    # Until the answer is parsed; what waits for the engine counts.
    latency_ms: float = 0.0
    finish_reason: str = "stop"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    # OpenAI's entries of `logprobs.content`, the end token's among them.
    tokens: Sequence[JsonObject] = field(default=(), repr=False, compare=False)
    # Further answers to the same question.
    others: tuple[Completion, ...] = ()
    # What the model thought before it answered, where it did.
    thought: str | None = None


def as_completion(body: JsonObject, latency_ms: float, bounds: Bounds = FREE) -> Completion:
    found = of_choice(body["choices"][0], latency_ms, bounds)
    usage = body.get("usage") or {}
    others = body["choices"][1:]
    return replace(
        found,
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        others=tuple(of_choice(choice, latency_ms, bounds) for choice in others),
    )


def of_choice(answered: JsonObject, latency_ms: float, bounds: Bounds) -> Completion:
    choice, thought = thought_apart(answered)
    message, logprobs = choice["message"], choice["logprobs"]
    said = message["content"]
    # Missing is not zero: without either nothing can be said of the answer.
    if (said is None and not (bounds.tools and message.get("tool_calls"))) or logprobs is None:
        raise ValueError("no content" if said is None else "no logprobs")
    finish_reason = choice.get("finish_reason") or "stop"
    if bounds.tools:
        said = written(bounds.tools.read(message, finish_reason != "length"))
    reading = (
        read_answer(choice, bounds) if message["content"] else read_answer(untaken(choice), CALLS)
    )
    return Completion(
        # PostgreSQL holds no NUL. What an app sends is refused for it; a model cannot be told.
        answer=as_said(said).replace("\0", "\ufffd"),
        confidence=reading.confidence,
        logprob=reading.logprob,
        latency_ms=latency_ms,
        finish_reason="stop" if finish_reason == "tool_calls" else finish_reason,
        tokens=logprobs.get("content") or (),
        thought=thought.replace("\0", "\ufffd") if thought else None,
    )


def untaken(choice: JsonObject) -> JsonObject:
    """Return a choice with all that the model said as its content, where the engine took calls out
    of it. The last token ends the answer.
    """
    if not choice["message"].get("tool_calls"):
        return choice
    tokens = choice["logprobs"].get("content") or ()
    content = "".join(token["token"] for token in tokens[:-1])
    return choice | {"message": {"content": content}}
