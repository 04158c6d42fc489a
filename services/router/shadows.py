"""Answers that are asked beside the one that is given, and given to nobody: of the adapter on trial
and what it replaces, both answer the same question.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from schemas.answers import normalise
from schemas.base import Arm
from schemas.route import RouteSpec
from services.router.chain import Chain, Course
from services.router.rollout import Pick
from services.router.state import RouteState
from services.router.store.shadows import Shadow, ShadowStore
from services.router.tries import Try
from services.router.turns import Turns
from shared.describing import describe
from shared.errors import RatchetError
from shared.privacy import Redact
from shared.rules import FREE, cleaned
from shared.telemetry import log

# In flight in a process; more are left out.
AT_ONCE = 8
# Of the engine's places, those that apps must leave free.
IDLE_SHARE = 0.5


class Beside(NamedTuple):
    """Who else is asked: an arm, by its adapter (None is the base model)."""

    arm: Arm
    adapter_id: str | None
    # Whether that is the adapter on trial, and not what it replaces.
    is_new: bool


def beside(state: RouteState, pick: Pick) -> Beside | None:
    """Say who is asked beside a request: the challenger where the champion has it, and what a
    champion replaced where it may be rolled back.
    """
    if pick.waiting_for or pick.arm == "challenger":
        return None
    if state.challenger:
        return Beside("challenger", state.challenger.adapter.adapter_id, is_new=True)
    if pick.arm != "champion" or state.promoted_at is None:
        return None
    if state.previous:
        return Beside("champion", state.previous.adapter_id, is_new=False)
    return Beside("base", None, is_new=False)


@dataclass
class Shadows:
    """Asks while there is room, and stops at once when apps need it."""

    chain: Chain
    turns: Turns
    store: ShadowStore
    # By route and inference.
    redacting: Callable[[str, str], Redact]
    _asking: set[asyncio.Task[None]] = field(default_factory=set)

    def ask(self, course: Course, inference_id: str) -> None:
        """Ask beside a request that was answered, for a share of them; nobody waits for it."""
        state = course.view.state
        other = beside(state, course.pick)
        if other is None or random.random() >= state.spec.canary.shadow:
            return
        first = course.tries[0]
        plain = course.terms.bounds == FREE and course.terms.tool is None
        if not plain or first.attempt.arm != course.pick.arm or not self._may_ask(course, other):
            return
        task = asyncio.create_task(self._compare(course, first, other, inference_id))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def make_room(self) -> None:
        """Stop asking: an app waits for the engine."""
        for task in self._asking:
            task.cancel()

    async def close(self) -> None:
        self.make_room()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _may_ask(self, course: Course, other: Beside) -> bool:
        idle = self.turns.running + len(self._asking) < IDLE_SHARE * self.turns.at_once
        route = course.view.state.route
        return idle and len(self._asking) < AT_ONCE and self.chain.is_well(route, other.adapter_id)

    async def _compare(self, course: Course, given: Try, other: Beside, inference_id: str) -> None:
        spec = course.view.state.spec
        try:
            asked = already_asked(course, other) or await self.chain.alone(
                course, other.arm, other.adapter_id
            )
            pair = {True: (asked, other.adapter_id), False: (given, course.pick.adapter_id)}
            new, old = pair[other.is_new], pair[not other.is_new]
            redact = self.redacting(spec.name, inference_id)
            # What the question says of a number holds in the answer.
            cleaned(course.question.messages, redact)
            shadow = Shadow(
                inference_id=inference_id,
                route=spec.name,
                new=new[1] or "",
                old=old[1],
                new_answer=digest_of(new[0], spec, redact),
                old_answer=digest_of(old[0], spec, redact),
                at=time.time(),
            )
            await self.store.add(shadow)
        except RatchetError as error:
            log("shadows").info("no answer beside", route=spec.name, error=describe(error)[:200])


def already_asked(course: Course, other: Beside) -> Try | None:
    """Return what the base model said where it was asked after an adapter that was not sure."""
    further = (one for one in course.tries[1:] if one.attempt.adapter_id == other.adapter_id)
    return next(further, None)


def digest_of(one: Try, spec: RouteSpec, redact: Redact) -> str:
    """Return what an answer is compared by; "" where it breaks the form, which is wrong."""
    return digest(redact(one.attempt.answer), spec) if one.formed else ""


def digest(answer: str, spec: RouteSpec) -> str:
    return sha256(normalise(answer, spec).encode("utf-8", "replace")).hexdigest()
