"""The upstreams beside vLLM, as their file has them: models of others that pass through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.describing import describe
from shared.errors import Fatal

# A name, or the beginning of names.
MODEL = r"^[\x21-\x29\x2b-\x7e]{1,200}\*?$|^\*$"
ModelName = Annotated[str, Field(pattern=MODEL)]
Tenant = Annotated[str, Field(pattern=r"^([a-z0-9-]{1,64}|\*)$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class UpstreamsUnusable(Fatal):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"ROUTER_UPSTREAMS_FILE {path}: {why}; docs/gateway.md has an example of such a file"
        )


class OtherUpstream(BaseModel):
    """One server that speaks OpenAI's API, and who may use it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    # Up to and with /v1.
    url: str = Field(pattern=r"^https?://[^\s?#@]{1,500}$")
    # The environment variable, or the file, that holds the key: never the key itself.
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    key_file: Path | None = None
    models: tuple[ModelName, ...] = Field(min_length=1, max_length=1000)
    # None is let in by being left out: every request is paid for with the key.
    tenants: tuple[Tenant, ...] = Field(min_length=1, max_length=1000)
    connect_seconds: Seconds = 5.0
    # As long as OpenAI's clients wait: a model that thinks is silent for minutes.
    first_byte_seconds: Seconds = 600.0
    # Between two pieces of an answer that has begun.
    idle_seconds: Seconds = 120.0

    @field_validator("url")
    @classmethod
    def without_last_slash(cls, url: str) -> str:
        return url.rstrip("/")

    def secret(self) -> str | None:
        """Return the key, None where none is said. Raises ValueError, OSError."""
        if self.key_env and self.key_file:
            raise ValueError(f"{self.name} has key_env and key_file: leave one out")
        if self.key_env:
            key = os.environ.get(self.key_env, "").strip()
        elif self.key_file:
            key = self.key_file.read_text().strip()
        else:
            return None
        if not key.isascii() or not key.isprintable() or not key:
            where = self.key_env or self.key_file
            raise ValueError(f"the key of {self.name} in {where} is missing, or no one line of it")
        return key


class UpstreamsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    upstreams: tuple[OtherUpstream, ...] = Field(max_length=100)

    @field_validator("upstreams")
    @classmethod
    def names_are_unique(cls, upstreams: tuple[OtherUpstream, ...]) -> tuple[OtherUpstream, ...]:
        if len({one.name for one in upstreams}) < len(upstreams):
            raise ValueError("two upstreams have one name")
        return upstreams


def upstreams_in(path: Path | None) -> dict[OtherUpstream, str | None]:
    """Read the file, JSON or YAML, and the keys it names. Raises UpstreamsUnusable."""
    if path is None:
        return {}
    try:
        read = UpstreamsFile.model_validate(yaml.safe_load(path.read_text()))
        return {upstream: upstream.secret() for upstream in read.upstreams}
    except yaml.YAMLError as error:
        raise UpstreamsUnusable(path, "is neither YAML nor JSON") from error
    except ValidationError as error:
        raise UpstreamsUnusable(path, describe(error)) from error
    except OSError as error:
        raise UpstreamsUnusable(path, describe(error)) from error
    except ValueError as error:
        raise UpstreamsUnusable(path, str(error)) from error
