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
