"""An adapter folder without a model, executors that behave as told, and a trainer service around
them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from struct import pack

from schemas.events import DatasetBuilt
from services.trainer.app import Parts, build
from services.trainer.base_facts import BaseFacts
from services.trainer.card import model_card
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Progress
from services.trainer.settings import Settings
from shared.service import Service
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.trainer.tiny import build_dataset

Trains = Callable[[TrainingOrder, Progress], Awaitable[TrainingResult]]


FACTS = BaseFacts(
    parameters=134_515_008,
    layers=30,
    linear=tuple(f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")),
    context=8192,
    memory=24 * 2**30,
)


class Fake:
    """An executor: `train` is whatever a test says happens."""

    def __init__(self, *attempts: Trains) -> None:
        self.attempts = list(attempts)
        self.orders = []
        self.facts = FACTS

    async def look(self, base_model: str) -> BaseFacts:
        return self.facts

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult:
        self.orders.append(order)
        return await self.attempts.pop(0)(order, progress)


async def succeeds(order: TrainingOrder, progress: Progress) -> TrainingResult:
    await progress.say(TrainingProgress(step=1, steps=2, loss=1.0))
    await progress.say(TrainingProgress(step=2, steps=2, loss=0.5, validation_loss=0.6))
    result = result_of(order)
    write_adapter(order, result)
    return result


def raises(error: Exception) -> Trains:
    async def train(order: TrainingOrder, progress: Progress) -> TrainingResult:
        raise error

    return train


def result_of(order: TrainingOrder) -> TrainingResult:
    return TrainingResult(
        dataset_id=order.dataset_id,
        dataset_sha256=order.dataset_sha256,
        base_model=order.base_model_name,
        recipe=order.recipe.name,
        recipe_sha256=order.recipe.sha256,
        seed=order.recipe.seed,
        rows=24,
        dropped_rows=0,
        steps=2,
        epochs=1,
        train_loss=0.5,
        validation_loss=0.6,
        tokens_per_second=500.0,
        run_id="run-1",
    )


def write_adapter(order: TrainingOrder, result: TrainingResult) -> None:
    rank = order.recipe.rank
    folder = order.output
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps(
        {"layer.lora_A.weight": {"dtype": "F32", "shape": [rank, 2], "data_offsets": [0, rank * 8]}}
    ).encode()
    (folder / "adapter_model.safetensors").write_bytes(
        pack("<Q", len(header)) + header + bytes(rank * 8)
    )
    (folder / "adapter_config.json").write_text(
        json.dumps(
            {
                "peft_type": "LORA",
                "r": rank,
                "bias": "none",
                "base_model_name_or_path": result.base_model,
            }
        )
    )
    (folder / "README.md").write_text(model_card(order, result))
    (folder / "recipe.yaml").write_text(order.recipe.as_yaml())
    (folder / "training.json").write_text(json.dumps(result.facts()))


def trainer_service(
    folder: Path, database_url: str, keys_file: str, executor: object, **settings: object
) -> Service[Parts]:
    settings = Settings(
        **(
            {
                "database_url": database_url,
                "artifacts_url": f"file://{folder}/artifacts",
                "keys_file": keys_file,
                "base_model": "org/some-model",
                "work_dir": folder / "work",
            }
            | settings
        )
    )
    return build(settings, executor=executor)


def dataset_event(folder: Path, **changes) -> DatasetBuilt:
    blob = BlobStore(f"file://{folder}/artifacts").put_folder(
        build_dataset(folder / "dataset"), "datasets"
    )
    return factories.dataset(**({"blob": blob} | changes))
