"""What capture is told from outside, besides what all services are."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, SurrogateSecret


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="CAPTURE_", frozen=True, extra="ignore", populate_by_name=True
    )

    port: int = Field(8101, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    max_items: int = Field(1000, ge=1, description="items in one request")
    max_unpacked_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="size of a gzip body once unpacked"
    )
    sources: Path | None = Field(
        None,
        description=(
            "a mapping of an app's own topic, or a folder of them: what its records hold where"
            " ('ratchet capture map' shows what one makes of them)"
        ),
    )
    surrogate_secret: SurrogateSecret = None
