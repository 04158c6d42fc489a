"""Which environment variables a service's settings read, and which of them it cannot start
without.
"""

from __future__ import annotations

import importlib

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from shared.settings import ServiceSettings


def settings_of(service: str) -> type[ServiceSettings]:
    return importlib.import_module(f"services.{service.replace('-', '_')}.settings").Settings


def names_of(field_name: str, field: FieldInfo, prefix: str) -> set[str]:
    alias = field.validation_alias
    if alias is None:
        return {f"{prefix}{field_name}".upper()}
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return {choice.upper() for choice in choices if isinstance(choice, str)}


def known_names(settings: type[ServiceSettings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    return set().union(
        *(names_of(name, field, prefix) for name, field in settings.model_fields.items())
    )


def required_names(settings: type[ServiceSettings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    return set().union(
        *(
            names_of(name, field, prefix)
            for name, field in settings.model_fields.items()
            if field.is_required()
        )
    )
