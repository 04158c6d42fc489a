"""What review is told from outside."""

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, SurrogateSecret


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="REVIEW_", frozen=True, extra="ignore", populate_by_name=True
    )

    port: int = Field(8102, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    salt: SecretStr = Field(
        SecretStr("ratchet"),
        description=(
            "seeds the sampling coin; change it before the first inference and never after: who"
            " knows it can tell what is audited"
        ),
    )
    session_secret: SecretStr | None = Field(
        None, description="signs the pages' cookie; unset: kept in the database"
    )
    claim_seconds: float = Field(
        300.0, gt=0, description="how long a claimed item waits for its verdict"
    )
    skip_seconds: float = Field(
        3600.0,
        gt=0,
        description="how long a skipped item stays away from who skipped it; others get it at once",
    )
    session_hours: float = Field(12.0, gt=0)
    keep_days: float = Field(
        30.0,
        gt=0,
        description="how long an answer nobody was asked to review waits for late feedback",
    )
    surrogate_secret: SurrogateSecret = None
