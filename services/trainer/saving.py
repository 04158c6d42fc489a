"""A trained adapter as a folder that vLLM serves. Runs in the training process."""

from __future__ import annotations

import json
from typing import cast

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from trl.trainer.sft_trainer import SFTTrainer

from services.trainer.card import model_card
from services.trainer.order import TrainingOrder, TrainingResult
from services.trainer.tracking import Tracking
from shared.storage import folder_digest

MODEL_FILES = ("adapter_model.safetensors", "adapter_config.json")


def save(
    order: TrainingOrder, trainer: SFTTrainer, result: TrainingResult, tracking: Tracking | None
) -> TrainingResult:
    """Write the adapter's folder, `training.json` last; the trainer stores it under its digest.

    Called in every process; the first one writes.
    """
    learned = gather(trainer)
    if not trainer.is_world_process_zero():
        return result
    order.output.mkdir(parents=True, exist_ok=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.save_pretrained(order.output, state_dict=learned)
    for path in order.output.iterdir():
        if path.name not in MODEL_FILES:
            path.unlink()
    config = json.loads((order.output / "adapter_config.json").read_text())
    config |= {
        "base_model_name_or_path": order.base_model_name,
        # peft writes a set, in any order.
        "target_modules": sorted(config["target_modules"]),
    }
    (order.output / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (order.output / "README.md").write_text(model_card(order, result))
    (order.output / "recipe.yaml").write_text(order.recipe.as_yaml())
    (order.output / "training.json").write_text(
        json.dumps(result.facts(), indent=2, sort_keys=True)
    )
    if tracking:
        run_id = tracking.finish({"adapter": folder_digest(order.output)})
        result = result.model_copy(update={"run_id": run_id})
    order.result_file.write_text(result.model_dump_json())
    return result


def gather(trainer: SFTTrainer) -> dict[str, torch.Tensor]:
    """Return the matrices that were learned, whole: under FSDP each process has a part of them."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    model = cast(torch.nn.Module, trainer.model)
    return cast(dict[str, torch.Tensor], get_model_state_dict(model, options=options))
