"""Proof that a loaded adapter acts, and acts as the evaluator saw it.

vLLM has loaded adapters without applying them (https://github.com/vllm-project/vllm/pull/39816).
"""

from __future__ import annotations

import math

from schemas.answers import same_answer
from schemas.base import Message
from schemas.evaluation import Probe
from schemas.route import RouteSpec
from services.router.upstream import AdapterUnfit, Upstream, UpstreamSilent
from shared.rules import Completion, freely

# Nats: how far two servers' readings of one answer may be apart (bfloat16, other batches).
SAME = 0.5
# Nats: an adapter that does nothing gives the base model's logprobs to the last bit.
ACTS = 1e-3
# A score below it is zero, or has lost the sum of its logprobs.
LOWEST = 1e-300
ANYTHING = (Message(role="user", content="Hello, I have a question about my last order."),)


class ProbeFailed(AdapterUnfit):
    """The adapter was loaded, and did not answer its probe as it should."""


async def prove(
    upstream: Upstream, base_model: str, adapter_id: str, spec: RouteSpec, probe: Probe | None
) -> None:
    """Ask adapter and base model the same question, and judge their answers.

    Raises ProbeFailed unless the adapter answers as evaluated and not as the base model.
    """
    asked = probe.messages if probe else ANYTHING
    messages = spec.tuned_messages(asked)
    [bounds] = freely(spec).steps
    silent: UpstreamSilent | None = None
    try:
        adapted = await upstream.ask(adapter_id, messages, spec.max_tokens, bounds)
    except UpstreamSilent as error:
        silent = error
    # Raises UpstreamAway where it is not the adapter's fault.
    plain = await upstream.ask(base_model, messages, spec.max_tokens, bounds)
    if silent:
        raise ProbeFailed(adapter_id, f"it does not answer its probe: {silent}") from silent
    judge(adapter_id, spec, adapted, plain, probe)


def judge(
    adapter_id: str,
    spec: RouteSpec,
    adapted: Completion,
    plain: Completion,
    probe: Probe | None,
) -> None:
    distance = _distance(adapted, plain)
    if adapted.answer == plain.answer and distance < ACTS and not _alike_when_evaluated(probe):
        raise ProbeFailed(
            adapter_id,
            "it answers the probe exactly like the base model, so vLLM does not apply it",
        )
    if (
        probe
        and not same_answer(adapted.answer, probe.answer, spec)
        and abs(_logprob(adapted) - probe.logprob) > SAME
    ):
        raise ProbeFailed(
            adapter_id,
            "it answers the probe otherwise than when it was evaluated (log-probability"
            f" {_logprob(adapted):.2f}, not {probe.logprob:.2f})",
        )


def _alike_when_evaluated(probe: Probe | None) -> bool:
    """Say whether the evaluator saw no difference either: then this probe cannot show one."""
    if probe is None or probe.base_logprob is None:
        return False
    return (
        probe.base_answer in (None, probe.answer) and abs(probe.logprob - probe.base_logprob) < ACTS
    )


def _distance(one: Completion, other: Completion) -> float:
    return abs(_logprob(one) - _logprob(other)) + abs(
        one.confidence.min_logprob - other.confidence.min_logprob
    )


def _logprob(completion: Completion) -> float:
    """Return the log of the score; that of LOWEST for an empty answer, which has no tokens."""
    return math.log(max(completion.confidence.score, LOWEST))
