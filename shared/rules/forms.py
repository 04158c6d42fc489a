"""The form that the answers of a route have, how an engine holds them to it, and for what a
calibration holds.

Router and evaluator ask every arm by the same form: the base model with a grammar is what a user
could have without training, and a score holds for answers that were asked for alike.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from pydantic_core import to_json

from schemas.base import JsonObject, Message
from schemas.route import RouteSpec
from shared.rules.completion import FREE, Bounds
from shared.rules.engine_answers import Completion
from shared.rules.vllm_errors import RequestRefused, VllmFailed
from shared.telemetry import log

# Of how answers are held to their form, how their scores are read, and on which rows and at which
# level thresholds are certified. Another number voids every calibration.
RULES = 3
# As vLLM says it, whichever of its checks refuses.
TOO_LONG = re.compile("maximum (context|model) length")
# Failures of a grammar are this one; others have statuses of their own.
INTERNAL_ERROR = 500
NAMED_JSON = re.compile(r"\bjson\b", re.IGNORECASE)
SENT = (Message(role="system", content="what an app says"),)


@dataclass(frozen=True)
class Form:
    """What answers are held to: by the first of the steps that an engine's grammar can hold."""

    steps: tuple[Bounds, ...]
    # By which a refusal is remembered.
    key: str

    def within(self, bounds: Bounds) -> Form:
        """Return the form of answers that keep to what an app wants of them, too."""
        steps = (
            replace(
                bounds,
                choices=step.choices,
                json_schema=step.json_schema,
                hopes_for_json=step.hopes_for_json,
                template_arguments=step.template_arguments,
            )
            for step in self.steps
        )
        return Form(tuple(steps), self.key)


ANYTHING = Form((FREE,), "")
OBJECT = Bounds(json_schema={})
HOPE = Bounds(hopes_for_json=True)


def form_of(spec: RouteSpec) -> Form:
    """Return the form of a route's answers, whichever arm gives them.

    An extraction without a schema may answer with words. It is held to an object where one of its
    prompts says JSON, as OpenAI's JSON mode demands of a prompt.
    """
    if spec.task == "classification":
        steps: tuple[Bounds, ...] = (Bounds(choices=spec.labels), FREE)
    elif spec.output_schema is not None:
        by_schema = Bounds(json_schema=spec.output_schema)
        steps = (
            (by_schema, OBJECT, HOPE) if takes_objects(spec.output_schema) else (by_schema, HOPE)
        )
    elif spec.task == "extraction" and NAMED_JSON.search(
        f"{spec.system_prompt}\n{spec.detailed_prompt}"
    ):
        steps = (OBJECT, HOPE)
    else:
        return freely(spec)
    told = tuple(spec.template_arguments.items())
    return Form(tuple(replace(step, template_arguments=told) for step in steps), _digest(steps[0]))


def freely(spec: RouteSpec) -> Form:
    """Return the form of answers that are held to nothing, rendered as all others of the route."""
    if not spec.template_arguments:
        return ANYTHING
    return Form((Bounds(template_arguments=tuple(spec.template_arguments.items())),), "")


def takes_objects(schema: JsonObject) -> bool:
    """Say whether a schema is one of objects by its own words."""
    kinds = schema.get("type", "object" if "properties" in schema else None)
    return kinds == "object" or (isinstance(kinds, list) and "object" in kinds)


@dataclass
class Grammar:
    """What is known of an engine: which one it is, and the forms that its grammar cannot hold.

    vLLM refuses some schemas with 400 (`uniqueItems`, `contains`), fails with 500 on others (one
    that is nothing but itself), and leaves keywords out of the grammar of yet others.
    """

    # Empty where the engine does not say.
    engine: str = ""
    _steps: dict[str, int] = field(default_factory=dict)

    def runs(self, engine: str) -> None:
        """Note which engine answers; another one may hold what the last one could not."""
        if engine != self.engine:
            self._steps.clear()
            self.engine = engine

    def step(self, form: Form) -> int:
        """Return the step of a form by which it is asked for now."""
        return self._steps.get(form.key, 0) if self._steps else 0

    def bounds(self, form: Form) -> Bounds:
        """Return what a form is held to now."""
        return form.steps[self.step(form)]

    async def ask(self, form: Form, ask: Callable[[Bounds], Awaitable[Completion]]) -> Completion:
        """Ask for an answer in a form, by the strictest bounds that the engine takes.

        Where weaker ones help it was the grammar's fault, which is remembered. Raises what the
        strictest raised where none helps: then it was the question's.
        """
        at = self.step(form)
        try:
            return await ask(self.bounds(form))
        except (RequestRefused, VllmFailed) as error:
            if at + 1 == len(form.steps) or not _may_be_the_grammars(error):
                raise
            return await self._ask_weaker(form, at, ask, error)

    async def _ask_weaker(
        self,
        form: Form,
        at: int,
        ask: Callable[[Bounds], Awaitable[Completion]],
        first: RequestRefused | VllmFailed,
    ) -> Completion:
        # What fails once by chance must not cost a route its form.
        again = range(at, len(form.steps)) if isinstance(first, VllmFailed) else ()
        for step in again or range(at + 1, len(form.steps)):
            try:
                completion = await ask(form.steps[step])
            except (RequestRefused, VllmFailed) as error:
                if not _may_be_the_grammars(error):
                    raise
                continue
            if step > at:
                self._steps[form.key] = max(step, self.step(form))
                log("forms").warning("the engine cannot hold a form", step=step)
            return completion
        raise first

    def flaw(self, form: Form) -> str | None:
        """Say how far a form is not held; None where it is, as far as is known."""
        step = self.step(form)
        if not step:
            return None
        held = form.steps[step].json_schema is not None
        return "any JSON object, not the schema" if held else "nothing"


def _may_be_the_grammars(error: RequestRefused | VllmFailed) -> bool:
    if isinstance(error, RequestRefused):
        return not TOO_LONG.search(error.detail)
    return error.code == INTERNAL_ERROR


def population(spec: RouteSpec, adapter_id: str | None, engine: str, step: int) -> str:
    """Return the digest of all that a calibration of one arm holds for.

    `engine` is what it says of itself: release, base model, chat template. `step` is the one of the
    route's form by which it is asked.
    """
    prompt = spec.tuned_messages(SENT) if adapter_id else spec.detailed_messages(SENT)
    return _digest(
        [
            RULES,
            adapter_id,
            prompt,
            spec.task,
            spec.labels,
            spec.output_schema,
            spec.max_tokens,
            spec.targets.max_risk,
            # It decides which answers reach the base model behind an adapter.
            spec.guarantee,
            engine,
            step,
            # Alone where there are none, as in calibrations from before routes had them.
            *([spec.template_arguments] if spec.template_arguments else []),
        ]
    )


def _digest(value: object) -> str:
    return hashlib.sha256(to_json(value)).hexdigest()[:32]
