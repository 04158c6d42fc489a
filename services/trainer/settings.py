"""What the trainer is told from outside. What changes a model stands in a recipe."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="TRAINER_", frozen=True, extra="ignore", populate_by_name=True
    )

    port: int = Field(8104, validation_alias=AliasChoices("PORT", "port"), ge=1, le=65535)
    base_model: str = Field(description="a local folder, or a hub id where the hub may be reached")
    work_dir: Path = Field(
        Path(".ratchet/trainer"),
        description="datasets, checkpoints and attempts, until their job is finished",
    )
    recipes_dir: Path = Field(
        Path(__file__).parent / "recipes", description="where a recipe's name is looked up"
    )
    mlflow_tracking_uri: str | None = Field(
        None, description="MLflow server or database; a SQLite file in the work folder by default"
    )
    max_lora_rank: int = Field(
        16,
        ge=8,
        validation_alias=AliasChoices("MAX_LORA_RANK", "max_lora_rank"),
        description="the largest rank that the engine serves: its --max-lora-rank",
    )
    job_hours: float = Field(
        12.0, gt=0, description="a training that ran longer, all attempts together, fails"
    )
    jobs_per_tenant: int | None = Field(
        None,
        ge=1,
        description="trainings of one tenant at once; unset: as many as there are workers",
    )
    turn_minutes: float = Field(
        60.0,
        gt=0,
        description=(
            "a training that ran so long pauses at its next checkpoint while another tenant waits;"
            " trainers on several machines should share the work folder then"
        ),
    )
