"""The dataset-builder's settings."""

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="DATASET_BUILDER_", frozen=True, extra="ignore", populate_by_name=True
    )

    port: int = Field(8103, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    job_hours: float = Field(
        2.0, gt=0, description="a build that ran longer, all attempts together, fails"
    )
    jobs_per_tenant: int | None = Field(
        None, ge=1, description="builds of a tenant at once; unset: as many as workers"
    )
