"""Several answers to one question: how they are drawn. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from services.router.openai_errors import BadRequest
from shared.rules import Sampling

# OpenAI's default; at 0 all answers would be the same.
TEMPERATURE = 1.0


class SentSampling(BaseModel):
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None


def drawn(n: int, fields: Mapping[str, object]) -> tuple[Sampling, Mapping[str, object]]:
    """Return how `n` answers are drawn, and the fields that have no part in it.

    Raises BadRequest.
    """
    try:
        sent = SentSampling.model_validate(fields)
    except ValidationError as error:
        [first, *_] = error.errors(include_input=False, include_url=False)
        where = str(first["loc"][0])
        raise BadRequest(f"{where}: {first['msg']}", where) from error
    rest = {name: value for name, value in fields.items() if name not in SentSampling.model_fields}
    temperature = sent.temperature or TEMPERATURE
    return Sampling(n, temperature, sent.top_p, sent.seed), rest
