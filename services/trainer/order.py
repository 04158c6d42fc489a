"""What the training process is told, and what it says and leaves behind."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from schemas.base import JsonObject
from schemas.route import RouteSpec
from services.trainer.losses import Curve
from services.trainer.rates import learning_rate
from services.trainer.recipe import TrainingRecipe

# Validation rows below which the best of a few epochs is a matter of chance: losses that differ by
# 0.5 nats between rows are known to 0.05 from 100 rows, and from 30 to 0.1, by which epochs differ.
TELLING_ROWS = 100
# The kind of the stored job.
JOB = "train"


class TrainingOrder(BaseModel):
    """One attempt at a training."""

    model_config = ConfigDict(frozen=True)
    job_id: str
    dataset_id: str
    dataset_sha256: str
    # A folder with train.parquet and validation.parquet.
    dataset: Path
    spec: RouteSpec
    recipe: TrainingRecipe
    # A local folder, or a model's id on the hub.
    base_model: str
    # Both folders belong to this attempt alone; `checkpoints` begins with the complete ones of the
    # attempts before it.
    checkpoints: Path
    output: Path
    tracking_uri: str

    @property
    def learning_rate(self) -> float:
        """Return the rate as a number, which it is from `settled` on."""
        rate = self.recipe.learning_rate
        if rate == "auto":
            raise ValueError("the learning rate was not looked up")
        return rate

    def settled(self, hidden_size: int, rows: int, validation_rows: int) -> TrainingOrder:
        """Return the order with what its recipe leaves to the base model's width and to the rows:
        the learning rate, and which epoch is kept.
        """
        known = {
            "learning_rate": learning_rate(self.recipe, hidden_size, rows),
            "keep": self.recipe.keep if validation_rows >= TELLING_ROWS else "last",
        }
        return self.model_copy(update={"recipe": self.recipe.model_copy(update=known)})

    @property
    def base_model_name(self) -> str:
        """Return the name for elsewhere, where a folder of this machine means nothing."""
        return Path(self.base_model).name if Path(self.base_model).exists() else self.base_model

    @property
    def recipe_checkpoints(self) -> Path:
        """Return where this recipe's checkpoints are: those of another must not be resumed."""
        return self.checkpoints / self.recipe.sha256[:12]

    @property
    def stderr_file(self) -> Path:
        """Return where the last words of a process that died are kept, for the operator.

        Beside the folders of jobs, which go when their job is over.
        """
        attempt = self.output.parent
        return attempt.parent.with_name("stderr") / f"{attempt.parent.name}.{attempt.name}.log"

    @property
    def result_file(self) -> Path:
        """Return where the result is written: beside the adapter, which is known by its digest.

        The time that a run took must not change that digest.
        """
        return self.output.with_suffix(".result.json")


class TrainingResult(BaseModel):
    """How the run went."""

    dataset_id: str
    dataset_sha256: str
    base_model: str
    recipe: str
    recipe_sha256: str
    seed: int
    rows: int
    # Rows that were longer than the recipe's max_length.
    dropped_rows: int
    steps: int
    epochs: float
    # The mean over the last epoch.
    train_loss: float
    # Of the epoch that was kept; None without validation rows.
    validation_loss: float | None
    tokens_per_second: float
    curve: Curve = []
    # What MLflow knows the run by; None while it is away.
    run_id: str | None = None

    def facts(self) -> JsonObject:
        """Return what is equal for equal runs: `training.json` in the adapter's folder."""
        return self.model_dump(mode="json", exclude={"run_id", "tokens_per_second"})


class TrainingProgress(BaseModel):
    step: int = 0
    steps: int = 0
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_second: float | None = None
    detail: str = ""
