"""Runs `train.py` in a child process on this machine, under python or under accelerate."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from schemas.base import JsonObject
from services.trainer.base_facts import BaseFacts
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Progress
from services.trainer.processes import launcher, visible_gpus
from services.trainer.refusals import BaseModelMissing
from shared.child import run_child
from shared.errors import JobFailed

MODULE = "services.trainer.train"
LOOK = "services.trainer.look"
# A hub that is slow to give a configuration.
LOOK_SECONDS = 300.0
# It speaks every five steps; loading 8 B parameters from a slow disk takes minutes.
SILENCE_SECONDS = 3600.0
ENVIRONMENT = {
    # OpenMP threads that wait must sleep: spinning beside other processes took 12 s of CPU for a
    # step that takes 2.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    # A tracking server that is away must not be waited for; progress bars would only fill our log.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}


@dataclass
class ChildExecutor:
    """Trains in a child process on this machine, or in several."""

    # The folder with the recipes, and the accelerate configs that they name.
    recipes: Path

    async def look(self, base_model: str) -> BaseFacts:
        # Ten seconds of CPU to import what would say the same.
        folder = Path(base_model)
        if folder.is_absolute() and not await asyncio.to_thread(folder.is_dir):
            raise BaseModelMissing(base_model, FileNotFoundError("there is no such folder"))
        found: list[BaseFacts] = []

        async def hear(message: JsonObject) -> None:
            if "refused" in message:
                raise JobFailed(message["refused"])
            found.append(BaseFacts.model_validate(message["facts"]))

        argv = [sys.executable, "-m", LOOK, "--base-model", base_model]
        await run_child(argv, hear, ENVIRONMENT, LOOK_SECONDS)
        return found[0]

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult:
        start = launcher(order.recipe, self.recipes)
        order.output.mkdir(parents=True, exist_ok=True)
        file = order.output.with_suffix(".order.json")
        file.write_text(order.model_dump_json(indent=1))

        async def hear(message: JsonObject) -> None:
            if "refused" in message:
                raise JobFailed(message["refused"])
            if "checkpoint" in message:
                # After the last one there is little left to do.
                if message["checkpoint"] < message["steps"]:
                    await progress.saved(message["checkpoint"])
                return
            await progress.say(TrainingProgress.model_validate(message))

        await run_child(
            [*start, "-m", MODULE, "--order", str(file)],
            hear,
            ENVIRONMENT | visible_gpus(order.recipe),
            SILENCE_SECONDS,
            order.stderr_file,
        )
        return TrainingResult.model_validate_json(order.result_file.read_text())
