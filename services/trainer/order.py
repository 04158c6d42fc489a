"""What the child process is told, and what it leaves behind: the whole contract between the service and `train.py`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from schemas.route import RouteSpec
from services.trainer.recipe import TrainingRecipe

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json", "README.md", "recipe.yaml", "training.json")


class TrainingOrder(BaseModel):
    """`checkpoints` outlives an attempt, so that the next one resumes; `output` belongs to this attempt alone."""

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


class TrainingResult(BaseModel):
    """`training.json`: the facts of the run that are true of the adapter wherever it goes."""

    dataset_id: str
    dataset_sha256: str
    base_model: str
    recipe: str
    recipe_sha256: str
    rows: int
    dropped_rows: int
    steps: int
    epochs: float
    train_loss: float
    validation_loss: float | None
    tokens_per_second: float
    run_id: str | None = None


class TrainingProgress(BaseModel):
    step: int = 0
    steps: int = 0
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_second: float | None = None
    detail: str = ""
