"""The dataset-builder's settings."""

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="DATASET_BUILDER_", frozen=True, extra="ignore", populate_by_name=True
    )

    port: int = Field(8103, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
