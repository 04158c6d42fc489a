"""The processes of a training: which one this is, how they start, what they cannot do together.

Several GPUs are several processes. Plain, each holds the whole base model (DDP); with an accelerate
config that says FSDP they share it out. What was not seen to work is refused in words before the
base model is loaded: the launcher would train in one process instead, or fail after hours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

from schemas.base import JsonObject
from services.trainer.recipe import RecipeUnusable, TrainingRecipe
from shared.errors import JobFailed


class ProcessesUnusable(JobFailed):
    """The processes that were started cannot train this recipe on this machine."""


def is_main_process() -> bool:
    """Say whether this is the only process, or the first of those that accelerate launched."""
    return os.environ.get("RANK", "0") == "0"


def local_process() -> int:
    """Return which of this machine's processes this is, which is also the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def check_processes(recipe: TrainingRecipe, gpus: int) -> None:
    """Raise ProcessesUnusable unless those that were started can train on so many GPUs."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != recipe.processes:
        raise ProcessesUnusable(
            f"the recipe asks for {recipe.processes} processes and {started} were started: its"
            " batches and its learning rate would not be those of the recipe"
        )
    if gpus and started > gpus:
        raise ProcessesUnusable(
            f"the recipe asks for {started} processes, one a GPU, and this machine has {gpus}:"
            " lower its processes"
        )
    if not gpus and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise ProcessesUnusable(
            "the recipe's accelerate_config says FSDP, which accelerate ignores where there is no"
            " GPU, and this machine has no GPU: leave accelerate_config out"
        )


def launcher(recipe: TrainingRecipe, recipes: Path) -> list[str]:
    """Return what starts a training whose recipe is in the folder `recipes`: python, or accelerate.

    Raises RecipeUnusable where its processes could not work.
    """
    if recipe.launcher == "python":
        if recipe.processes > 1 or recipe.accelerate_config:
            raise refused(recipe, "processes and accelerate_config are for launcher: accelerate")
        return [sys.executable]
    return [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *kind_of(recipe, recipes),
        "--num_processes",
        str(recipe.processes),
        "--num_machines",
        "1",
        # Any free one: 29500 may be another training's.
        "--main_process_port",
        "0",
        # The recipe says the precision.
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ]


def kind_of(recipe: TrainingRecipe, recipes: Path) -> list[str]:
    """Return what tells accelerate the kind of processes. Raises RecipeUnusable."""
    if recipe.accelerate_config is None:
        # Said even where there is no GPU: accelerate would start one process without a word.
        return ["--multi_gpu"] if recipe.processes > 1 else []
    path = recipes / recipe.accelerate_config
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise refused(recipe, f"accelerate_config {path} cannot be read") from error
    check_config(recipe, config if isinstance(config, dict) else {})
    return ["--config_file", str(path)]


def check_config(recipe: TrainingRecipe, config: JsonObject) -> None:
    """Raise RecipeUnusable unless the accelerate config is one with which this recipe can train."""
    kind = config.get("distributed_type")
    if kind == "MULTI_GPU" and recipe.processes > 1:
        return
    if kind != "FSDP":
        raise refused(
            recipe,
            f"its accelerate_config says distributed_type: {kind}, and FSDP alone is known to"
            " work; DDP needs no accelerate_config",
        )
    if (version := config.get("fsdp_config", {}).get("fsdp_version", 1)) != 2:
        raise refused(
            recipe, f"its accelerate_config says fsdp_version: {version}, and 2 is known to work"
        )
    if recipe.quantization != "none":
        raise refused(
            recipe,
            f"FSDP does not share out {recipe.quantization} weights, each GPU would hold all of"
            " them: leave accelerate_config out, or the quantization",
        )


def refused(recipe: TrainingRecipe, why: str) -> RecipeUnusable:
    return RecipeUnusable(f"recipe '{recipe.name}': {why}")


def visible_gpus(recipe: TrainingRecipe) -> dict[str, str]:
    """Return the environment in which one process sees one GPU: transformers would put a training
    on all it sees (DataParallel), with batches as many times as large.
    """
    if recipe.launcher != "python":
        return {}
    return {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
