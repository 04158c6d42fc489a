"""A look at the base model that somebody names, before anything is started with it."""

from __future__ import annotations

import json
import subprocess
import sys

from schemas.base import JsonObject
from shared.errors import RatchetError

LOOK = (sys.executable, "-m", "services.trainer.look", "--base-model")
# A hub may be slow.
SECONDS = 300.0


class BaseModelRefused(RatchetError):
    """No adapter of this base model can be trained; says why."""


def template_arguments_of(base_model: str) -> JsonObject:
    """Return what routes must tell the chat template of a base model. Raises BaseModelRefused."""
    try:
        looked = subprocess.run(
            [*LOOK, base_model], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise BaseModelRefused(
            f"the base model '{base_model}' was not there in {SECONDS:.0f} s: is the hub reached?"
        ) from late
    said: JsonObject = next(
        (json.loads(line) for line in looked.stdout.splitlines() if line.startswith("{")), {}
    )
    facts = said.get("facts") or {}
    if refused := said.get("refused") or facts.get("refused"):
        raise BaseModelRefused(refused)
    if not facts:
        raise BaseModelRefused(
            f"the base model '{base_model}' could not be looked at: {looked.stderr.strip()[-500:]}"
        )
    told: JsonObject = facts["template_arguments"]
    return told
