"""What each adapter does when it is evaluated and when it serves, and a vLLM that lets it."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from tests.unit.router.fakes import FakeVllm

Place = Literal["evaluation", "serving"]

PHRASES = {
    "delivery": "my parcel is late",
    "refund": "I want my money back",
    "fraud": "somebody else uses my card",
}
# Of twenty questions in a row: nine about deliveries, eight about refunds, three about fraud.
BLOCK = 20
LABELS = ("delivery",) * 9 + ("refund",) * 8 + ("fraud",) * 3
MALFORMED = "I would say that it is about"
NUMBER = re.compile(r"case (\d+)")


def question(number: int) -> str:
    return f"{PHRASES[truth(number)]}, this is case {number}"


@lru_cache
def shuffled(name: str, block: int) -> tuple[int, ...]:
    places = list(range(BLOCK))
    random.Random(f"{name}/{block}").shuffle(places)
    return tuple(places)


def place_of(name: str, number: int) -> int:
    """Return the place of a question among its twenty, in an order that only `name` has."""
    return shuffled(name, number // BLOCK)[number % BLOCK]


def truth(number: int) -> str:
    return LABELS[place_of("truth", number)]


def truth_of(text: str) -> str:
    return truth(number_in(text))


def number_in(text: str) -> int:
    found = NUMBER.search(text)
    return int(found.group(1)) if found else 0


@dataclass(frozen=True)
class Part:
    """How an adapter behaves in one place.

    `wrong` of twenty questions in a row it answers wrong, exactly: what is tried here is the
    machinery, and its power is simulated elsewhere.
    """

    wrong: int = 0
    never: str | None = None
    # Every second answer breaks the form.
    half_malformed: bool = False
    # It errs on the questions on which others do that are alike.
    alike: bool = False
    # After so many answers it answers no more.
    hangs_after: int | None = None
    sure: bool = True

    def answer(self, name: str, number: int) -> str:
        if self.half_malformed and number % 2:
            return MALFORMED
        errs = place_of("alike" if self.alike else name, number) < self.wrong
        right = truth(number)
        return other_than(right) if errs or right == self.never else right

    def is_sure(self, number: int) -> bool:
        return self.sure


@dataclass(frozen=True)
class Graded(Part):
    """One that knows how sure it may be: of twenty questions in a row, by their places in one order
    for all models, it errs at some and is sure at some.
    """

    errs_at: frozenset[int] = frozenset()
    sure_at: frozenset[int] = frozenset()

    def answer(self, name: str, number: int) -> str:
        right = truth(number)
        return other_than(right) if place_of("grades", number) in self.errs_at else right

    def is_sure(self, number: int) -> bool:
        return place_of("grades", number) in self.sure_at


def other_than(label: str) -> str:
    return "refund" if label == "delivery" else "delivery"


@dataclass(frozen=True)
class Role:
    """An adapter: what the evaluation sees of it, and what apps do."""

    evaluation: Part = Part()
    serving: Part = Part()


def steady(wrong: int) -> Role:
    return Role(Part(wrong=wrong), Part(wrong=wrong))


@dataclass
class Cast:
    """Who plays which version of which route; the base model is wrong in half of its answers, where
    nobody says otherwise.
    """

    roles: Mapping[str, tuple[Role, ...]]
    base: Part = Part(wrong=10, sure=False)
    _seen: dict[str, list[str]] = field(default_factory=dict)

    def part(self, model: str, place: Place) -> Part:
        if model == "base":
            return self.base
        return getattr(self.role(model), place)

    def role(self, adapter_id: str) -> Role:
        """Return the role of an adapter; the first one of a route that is loaded has the first."""
        route = adapter_id.partition("--")[2].partition("@")[0]
        seen = self._seen.setdefault(route, [])
        if adapter_id not in seen:
            seen.append(adapter_id)
        return self.roles[route][seen.index(adapter_id)]


class Stage(FakeVllm):
    """A vLLM whose adapters behave as they were cast."""

    def __init__(self, cast: Cast, place: Place) -> None:
        super().__init__(self.said)
        self.cast = cast
        self.place = place
        self._answers: dict[str, itertools.count[int]] = {}

    def said(self, model: str, messages: list[dict]) -> tuple[str, float]:
        number = number_in(messages[-1]["content"])
        part = self.cast.part(model, self.place)
        return part.answer(model, number), -0.02 if part.is_sure(number) else -0.7

    async def chat(self, request: Request) -> Response:
        model = (await request.json())["model"]
        after = self.cast.part(model, self.place).hangs_after
        if after is not None and next(self._answers.setdefault(model, itertools.count())) >= after:
            while (await request.receive())["type"] != "http.disconnect":
                await asyncio.sleep(0)
            return Response()
        self.asked.clear()
        return await super().chat(request)
