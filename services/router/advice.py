"""What the owner of a route should know of it before the first answer."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.answers import check_labels, is_free_text, schema_flaw
from schemas.route import RouteSpec
from services.router.label_tokens import LabelsTooLong, LabelTokens

NO_GATE = (
    "no adapter is trained for this route yet: two good texts differ, so comparing them proves"
    " nothing, and the judgement of pairs that can is not built; the base model answers, and"
    " answers are recorded and reviewed"
)


@dataclass(frozen=True)
class Advice:
    label_tokens: LabelTokens

    async def on(self, spec: RouteSpec) -> list[str]:
        """Return warnings, those among them for which the engine must be asked."""
        try:
            warning = await self.label_tokens.check(spec)
        except LabelsTooLong as error:
            warning = str(error)
        return [*warnings_of(spec), *([warning] if warning else [])]


def warnings_of(spec: RouteSpec) -> list[str]:
    """Return what the specification itself shows. A new one is refused for most of it; one that was
    stored before that is served on.
    """
    found = [NO_GATE] if is_free_text(spec) else []
    try:
        check_labels(spec.labels)
    except ValueError as error:
        found.append(f"no training set can be built: {error}")
    if spec.output_schema is not None and (flaw := schema_flaw(spec.output_schema)):
        found.append(f"answers are only checked for being JSON: output_schema {flaw}")
    return found
