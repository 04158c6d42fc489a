"""What the child process is told, and what it leaves behind: the whole contract between the service
and `train.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from schemas.route import RouteSpec
from services.trainer.recipe import TrainingRecipe

JOB = "train"  # the kind of the stored job
ADAPTER_FILES = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "README.md",
    "recipe.yaml",
    "training.json",
)


class TrainingOrder(BaseModel):
    """Both folders belong to this attempt alone; `checkpoints` begins with a copy of what the
    attempts before it had learned.
    """

    model_config = ConfigDict(frozen=True)
    job_id: str
    dataset_id: str
    dataset_sha256: str
    dataset: Path
    spec: RouteSpec
    recipe: TrainingRecipe
    base_model: str
    checkpoints: Path
    output: Path
    tracking_uri: str

    @property
    def base_model_name(self) -> str:
        """How the world knows the base model: a folder of this machine means nothing elsewhere."""
        return Path(self.base_model).name if Path(self.base_model).exists() else self.base_model

    @property
    def result_file(self) -> Path:
        """Beside the adapter, not in it: the time a run took must not change the digest of what it
        learned.
        """
        return self.output.with_suffix(".result.json")


class TrainingResult(BaseModel):
    """How the run went. `facts` are true of the adapter wherever it goes, and equal for equal runs:
    `training.json`.
    """

    dataset_id: str
    dataset_sha256: str
    base_model: str
    recipe: str
    recipe_sha256: str
    seed: int
    rows: int
    dropped_rows: int
    steps: int
    epochs: float
    train_loss: float
    validation_loss: float | None
    tokens_per_second: float
    curve: list[dict[str, float]] = []
    run_id: str | None = None

    def facts(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"run_id", "tokens_per_second"})


class TrainingProgress(BaseModel):
    step: int = 0
    steps: int = 0
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_second: float | None = None
    detail: str = ""
