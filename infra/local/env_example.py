"""Writes .env.example from the settings themselves, so that it is complete.

python -m infra.local.env_example > .env.example
"""

from __future__ import annotations

import importlib
import textwrap

from pydantic import AliasChoices, AliasPath, SecretStr
from pydantic.fields import FieldInfo

from schemas.topics import SERVICES
from shared.settings import ServiceSettings

HEAD = """\
# Everything that can be set from outside. Copy it to .env for docker compose; `ratchet up` sets the
# services' own by itself.
# Made by: python -m infra.local.env_example > .env.example

# --- docker compose ---------------------------------------------------------------------------

# required: a hub id, or a folder that the containers see
BASE_MODEL=
# required: choose three secrets, for example with: openssl rand -hex 32
POSTGRES_PASSWORD=
# never change it afterwards: it seeds which answers are audited
REVIEW_SALT=
REVIEW_SESSION_SECRET=
# for routes with `personal: surrogate`: makes what stands for personal data (docs/privacy.md)
#SURROGATE_SECRET=

# the folder of keys.json on the host; its owner writes it with:
# docker compose run --rm --no-deps ratchet keys create ...
#RATCHET_KEYS_DIR=./keys
#RATCHET_UID=0
# a folder with mappings of apps' own topics, which capture reads (docs/app-topics.md)
#CAPTURE_SOURCES_DIR=./sources
# which GPU does what; two numbers may be the same where the memory is enough
#SERVING_GPU=0
#EVALUATION_GPU=1
#TRAINING_GPU=2
#VLLM_VERSION=v0.32.0
#MAX_MODEL_LEN=4096
# for gated models of the hub
#HF_TOKEN=
#ROUTER_PORT=8100
#CAPTURE_PORT=8101
#REVIEW_PORT=8102
#MLFLOW_PORT=5000
#RATCHET_VERSION=local

# --- the `ratchet` command --------------------------------------------------------------------

# where everything local lives
#RATCHET_HOME=.ratchet
# what set-up makes once per user: vLLM's environment, the base model
#RATCHET_CACHE=~/.cache/ratchet
# a folder or a hub id, instead of SmolLM2-135M-Instruct
#RATCHET_BASE_MODEL=
# how that base model writes the calls of tools (vLLM's --tool-call-parser): `ratchet up` has none
# unless it is set here, docker compose has hermes
#TOOL_CALL_PARSER=
# an unpacked Apache Kafka that `ratchet up` formats and runs, instead of the embedded event log
#KAFKA_HOME=
# replicas of each topic: 3 in production
#KAFKA_REPLICATION_FACTOR=1
# Postgres for `ratchet up`, one database per service, instead of SQLite
#RATCHET_DATABASE_URL=postgresql+asyncpg://user:password@localhost:5432
# a system that runs elsewhere, for `ratchet routes`, `datasets`, `lineage`
#RATCHET_URL=http://127.0.0.1:8100
#RATCHET_TRAINER_URL=
#RATCHET_EVALUATOR_URL=
#RATCHET_DATASET_BUILDER_URL=
#RATCHET_API_KEY=
"""


def env_example() -> str:
    shared = section("every service", ServiceSettings, {})
    own = [
        section(service, settings_of(service), ServiceSettings.model_fields) for service in SERVICES
    ]
    return "\n".join([HEAD, shared, *(text for text in own if text)])


def settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"services.{service.replace('-', '_')}.settings")
    settings: type[ServiceSettings] = module.Settings
    return settings


def section(title: str, settings: type[ServiceSettings], leave_out: dict[str, FieldInfo]) -> str:
    prefix = settings.model_config.get("env_prefix", "")
    lines = [
        line
        for name, field in settings.model_fields.items()
        if name not in leave_out
        for line in described(f"{prefix}{name}".upper(), field)
    ]
    rule = "-" * (115 - len(title))
    return "\n".join([f"# --- {title} {rule}", "", *lines, ""]) if lines else ""


def described(name: str, field: FieldInfo) -> list[str]:
    comment = [f"# {line}" for line in textwrap.wrap(field.description or "", 116)]
    return [*comment, f"#{spelled(name, field.validation_alias)}={shown(field)}"]


def spelled(name: str, alias: str | AliasPath | AliasChoices | None) -> str:
    first = alias.choices[0] if isinstance(alias, AliasChoices) else alias
    return first if isinstance(first, str) else name


def shown(field: FieldInfo) -> str:
    if field.is_required() or field.default is None or isinstance(field.default, SecretStr):
        return ""
    value = str(field.default)
    # A path of the machine that writes this means nothing to its reader
    return "" if value.startswith("/") else value


if __name__ == "__main__":
    print(env_example(), end="")
